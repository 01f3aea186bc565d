//! YaRN scaling of a context without a change of the model.
//!
//! For a context whose scaling type is YaRN and whose scale differs from the model's, `llama_init_from_model` sets
//! the model's `hparams.n_ctx_train` to the scaled size. Every other context of the model then sees that number:
//! graphs read it (llama-graph.cpp, `build_inp_cross_embd`; models/laguna.cpp), concurrently in other threads, and
//! so does saving. The scaling type is only read there and where the context's parameters are computed
//! (llama-context.cpp, `llama_context`), where YaRN implies an extrapolation factor of 1 and otherwise equals linear
//! scaling. Therefore C gets linear scaling with that factor.

use crate::model::Scaling;

#[cfg(test)]
thread_local! {
    /// Whether C is told about YaRN nevertheless.
    static TELLS_C: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
}

/// Replaces YaRN by equivalent parameters.
pub(super) fn leave_model_alone(raw: &mut llama_sys::llama_context_params, model: Scaling) {
    use llama_sys::llama_rope_scaling_type as Raw;
    #[cfg(test)]
    if TELLS_C.get() {
        return;
    }
    let is_yarn = match raw.rope_scaling_type {
        Raw::LLAMA_ROPE_SCALING_TYPE_YARN => true,
        Raw::LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED => model.is_yarn,
        _ => false,
    };
    if !is_yarn {
        return;
    }
    raw.rope_scaling_type = Raw::LLAMA_ROPE_SCALING_TYPE_LINEAR;
    let is_given = raw.yarn_ext_factor >= 0.0;
    if !is_given && !model.has_ext_factor {
        raw.yarn_ext_factor = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use test_models::Tiny;

    use crate::Batch;
    use crate::context::{Context, ContextParams, RopeScaling};
    use crate::model::{Model, ModelParams};
    use crate::token::{Pos, SeqId, Token};

    fn load(params: &ModelParams) -> Model {
        Model::load(Tiny::Llama.path(), params).unwrap()
    }

    fn raw_n_ctx_train(model: &Model) -> i32 {
        // SAFETY: the model is valid; the function reads a number.
        unsafe { llama_sys::llama_model_n_ctx_train(model.raw()) }
    }

    fn params() -> ContextParams {
        ContextParams::default().n_ctx(256).n_threads(1)
    }

    fn prompt() -> Batch {
        let mut batch = Batch::new();
        let tokens: Vec<Token> = (300..340).map(Token::new).collect();
        batch.push_prompt(&tokens, SeqId::new(0), Pos::new(0)).unwrap();
        batch
    }

    fn logits(model: &Model, params: &ContextParams) -> Vec<f32> {
        let (mut context, batch) = (Context::new(model, params).unwrap(), prompt());
        context.decode(&batch).unwrap();
        context.logits(batch.last_output()).unwrap().to_vec()
    }

    /// Returns the logits that C computes if it is told about YaRN.
    fn logits_of_c(model: &Model, params: &ContextParams) -> Vec<f32> {
        super::TELLS_C.set(true);
        let row = logits(model, params);
        super::TELLS_C.set(false);
        row
    }

    #[test]
    fn a_scaled_context_equals_c_and_does_not_change_the_model() {
        let yarn = ModelParams::default().kv_override("llama.rope.scaling.type", "yarn");
        let explicit = params().rope_scaling_type(RopeScaling::Yarn).rope_freq_scale(0.25);
        for (model, params) in [
            (ModelParams::default(), explicit.clone()),
            (ModelParams::default(), explicit.clone().yarn_ext_factor(0.5)),
            (ModelParams::default(), explicit.clone().yarn_ext_factor(0.0)),
            (ModelParams::default(), explicit.yarn_orig_ctx(64)),
            (yarn.clone(), params().rope_freq_scale(0.25)),
            (yarn.clone(), params().rope_freq_scale(0.5).yarn_attn_factor(0.7)),
            (yarn.clone(), params()),
            (yarn, params().rope_scaling_type(RopeScaling::Linear).rope_freq_scale(0.25)),
        ] {
            let ours = load(&model);
            let trained = raw_n_ctx_train(&ours);
            assert_eq!(logits(&ours, &params), logits_of_c(&load(&model), &params), "{params:?}");
            assert_eq!(raw_n_ctx_train(&ours), trained);
        }
        // Makes sure that the test is meaningful: C changes its number, and the scaling changes the results.
        let (model, scaled) = (
            load(&ModelParams::default()),
            params().rope_scaling_type(RopeScaling::Yarn).rope_freq_scale(0.25),
        );
        let trained = raw_n_ctx_train(&model);
        assert_ne!(logits(&model, &scaled), logits(&model, &params()));
        logits_of_c(&model, &scaled);
        assert_eq!(raw_n_ctx_train(&model), 4 * trained);
    }

    #[test]
    fn contexts_in_two_threads_equal_single_ones() {
        let model = load(&ModelParams::default());
        let scaled = params().rope_scaling_type(RopeScaling::Yarn).rope_freq_scale(0.25);
        let alone = [logits(&model, &params().n_ctx(0)), logits(&model, &scaled)];
        let both = [params().n_ctx(0), scaled];
        thread::scope(|scope| {
            for (params, alone) in both.iter().zip(&alone) {
                let model = &model;
                scope.spawn(move || {
                    for _ in 0..20 {
                        assert_eq!(logits(model, params), *alone);
                        assert_eq!(Context::new(model, &params.clone().n_ctx(0)).unwrap().n_ctx(), 512);
                    }
                });
            }
        });
    }
}
