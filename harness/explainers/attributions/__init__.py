"""The methods, one file a family. A perturbation method plays a game (`harness.explainers.games`),
a gradient method asks for gradients (`harness.explainers.gradients`); neither sees a classifier."""
