//! llama-gen
