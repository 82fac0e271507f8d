"""GLA-GCN, the network of the paper, and the published S-AGCN."""
