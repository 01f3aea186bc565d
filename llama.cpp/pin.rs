//! Never compiled: the manifest beside it names where the llama.cpp tree comes from.
