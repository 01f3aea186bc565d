//! Samplers.
#![allow(missing_docs)]
use crate::context::Context;
use crate::error::Result;
use crate::ffi::guard::guard;
use crate::token::Token;
use std::ptr::NonNull;
#[derive(Clone, Copy, Debug)]
pub struct Penalties { pub last_n: i32, pub repeat: f32, pub frequency: f32, pub presence: f32 }
#[derive(Debug)]
pub struct SamplerChain(NonNull<llama_sys::llama_sampler>);
unsafe impl Send for SamplerChain {}
pub struct SamplerChainBuilder(Vec<*mut llama_sys::llama_sampler>);
impl SamplerChain {
    pub fn builder() -> SamplerChainBuilder { SamplerChainBuilder(vec![]) }
    pub fn sample(&mut self, context: &mut Context, index: impl Into<Option<usize>>) -> Result<Token> {
        let index = context.check_output(index.into(), "logits")?;
        let raw = context.raw();
        let t = guard(|| unsafe { llama_sys::llama_sampler_sample(self.0.as_ptr(), raw, index) })?;
        Ok(Token::new(t))
    }
    pub fn accept(&mut self, token: Token) -> Result<()> {
        guard(|| unsafe { llama_sys::llama_sampler_accept(self.0.as_ptr(), token.get()) })
    }
}
impl SamplerChainBuilder {
    pub fn greedy(mut self) -> Self { self.0.push(unsafe { llama_sys::llama_sampler_init_greedy() }); self }
    pub fn dist(mut self, s: u32) -> Self { self.0.push(unsafe { llama_sys::llama_sampler_init_dist(s) }); self }
    pub fn top_k(mut self, k: i32) -> Self { self.0.push(unsafe { llama_sys::llama_sampler_init_top_k(k) }); self }
    pub fn top_p(mut self, p: f32) -> Self { self.0.push(unsafe { llama_sys::llama_sampler_init_top_p(p, 1) }); self }
    pub fn min_p(mut self, p: f32) -> Self { self.0.push(unsafe { llama_sys::llama_sampler_init_min_p(p, 1) }); self }
    pub fn typical_p(mut self, p: f32) -> Self { self.0.push(unsafe { llama_sys::llama_sampler_init_typical(p, 1) }); self }
    pub fn temperature(mut self, t: f32) -> Self { self.0.push(unsafe { llama_sys::llama_sampler_init_temp(t) }); self }
    pub fn penalties(self, _p: Penalties) -> Self { self }
    pub fn build(self) -> Result<SamplerChain> {
        let chain = unsafe { llama_sys::llama_sampler_chain_init(llama_sys::llama_sampler_chain_default_params()) };
        for s in self.0 { unsafe { llama_sys::llama_sampler_chain_add(chain, s) } }
        Ok(SamplerChain(NonNull::new(chain).unwrap()))
    }
}
