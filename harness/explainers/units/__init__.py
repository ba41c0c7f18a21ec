"""What an attribution can speak about, one file a modality: each kind divides a text into spans or
an array into segments, and knows nothing of classifiers."""
