//! probe
mod greedy;
use greedy::*;
use llama_core::*;
use llama_gguf::TensorType;
use test_models::Tiny;
fn diff(a:&[f32],b:&[f32])->f32{ if b.iter().any(|v|!v.is_finite()){return f32::NAN} difference(a,b)}
fn h2f(h: u16) -> f32 { let s = if h>>15==1 {-1.0} else {1.0}; let e=((h>>10)&31) as i32; let m=(h&1023) as f32; if e==0 { s*m*2f32.powi(-24) } else { s*(1.0+m/1024.0)*2f32.powi(e-15) } }
fn run(which: &str) {
    let bytes = Tiny::Jamba.bytes();
    let g = llama_gguf::Gguf::from_bytes(&bytes).unwrap();
    let mut w = llama_gguf::Writer::new();
    for (k, v) in g.metadata().iter() { w.set(k.clone(), v.clone()); }
    for t in g.tensors() { let d = g.tensor_data(&bytes, &t.name().to_str_lossy()).unwrap().to_vec();
       let name = t.name().to_str_lossy().into_owned();
       if t.tensor_type() == TensorType::F16 && which.split(',').any(|w| !w.is_empty() && name.contains(w)) {
          let f: Vec<u8> = d.chunks(2).flat_map(|c| h2f(u16::from_le_bytes([c[0],c[1]])).to_le_bytes()).collect();
          w.tensor(t.name().clone(), TensorType::F32, t.shape(), f).unwrap();
       } else { w.tensor(t.name().clone(), t.tensor_type(), t.shape(), d).unwrap(); } }
    let f = tempfile::NamedTempFile::new().unwrap();
    w.write_file(f.path()).unwrap();
    let model = Model::load(f.path(), &ModelParams::default()).unwrap();
    const TEXTS: [&str; 4] = ["Hello world", "The test of it all", "one two", "over and over and over again"];
    let texts: Vec<_> = TEXTS.iter().map(|t| tokens(&model, t)).collect();
    let al: Vec<Vec<f32>> = TEXTS.iter().map(|t| logits_after(&mut Context::new(&model, &params()).unwrap(), &tokens(&model, t), SEQ, 0)).collect();
    let mut c = Context::new(&model, &params().n_ctx(1024).n_seq_max(4)).unwrap();
    for _ in 0..1 {
    c.memory().clear(true).unwrap();
    let mut b = Batch::new(); let mut idx = vec![0;4];
    for p in 0..20 { for s in 0..4 { if let Some(t) = texts[s].get(p) { idx[s] = b.push(*t, Pos::new(p as i32), &[SeqId::new(s as i32)], p+1 == texts[s].len()).unwrap(); } } }
    c.decode(&b).unwrap();
    println!("F32 for {which:?}: {:?}", (0..4).map(|s| diff(&al[s], &c.logits(idx[s]).unwrap())).collect::<Vec<_>>());
    }
}
#[test]
fn go() { for w in ["", ".", "ssm_dt", "ssm_x", "ssm_in", "ssm_out", "ffn", "attn", "ssm"] { run(w) } }
