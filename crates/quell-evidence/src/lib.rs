//! Evidence: canonical records, Merkle tree, checkpoints, proofs, bundles and their offline verification; pure.
