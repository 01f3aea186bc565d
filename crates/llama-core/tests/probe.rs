//! probe
mod greedy;
use greedy::*;
use test_models::Tiny;
use llama_core::*;
#[test]
fn t5_no_encode() {
    let m = load(Tiny::T5);
    let mut c = Context::new(&m, &params()).unwrap();
    let mut b = Batch::new();
    b.push_prompt(&[Token::new(0)], SEQ, Pos::new(0)).unwrap();
    println!("t5 decode first: {:?} poisoned {}", c.decode(&b), c.is_poisoned());
}
#[test]
fn t5_encode() {
    let m = load(Tiny::T5);
    let mut c = Context::new(&m, &params()).unwrap();
    let t = tokens(&m, "Hello world");
    let mut b = Batch::new();
    b.push_prompt(&t, SEQ, Pos::new(0)).unwrap();
    println!("t5 encode: {:?}", c.encode(&b));
    println!("t5 enc logits {:?}", c.logits(0).map(|l| l[..4].to_vec()));
    println!("t5 enc emb {:?}", c.embeddings(0).map(|l| l[..4].to_vec()));
    let cont = continuation(&mut c, &[Token::new(0)], SEQ, 8);
    println!("t5 cont {:?} {}", ids(&cont), text(&m, &cont));
    let mut b = Batch::new();
    b.push(Token::new(0), Pos::new(100), &[SEQ], true).unwrap();
    println!("t5 jump {:?}", c.decode(&b));
}
#[test]
fn bert_pos() {
    let m = load(Tiny::Bert);
    for n in [1, 2] {
    let mut c = Context::new(&m, &params().n_threads(n).embeddings(true)).unwrap();
    println!("bert ctx {c:?} {:?}", c.pooling_type());
    for p in [511, 512, 100000] {
    let mut b = Batch::new();
    b.push(Token::new(5), Pos::new(p), &[SEQ], true).unwrap();
    println!("bert pos {p}: {:?} {:?}", c.decode(&b), c.is_poisoned());
    println!("{:?}", c.embeddings_seq(SEQ).map(|e| e[..3].to_vec()));
    }
    }
}
#[test]
fn dup_seq() {
    let m = load(Tiny::Llama);
    let mut c = Context::new(&m, &params()).unwrap();
    let mut b = Batch::new();
    b.push(Token::new(5), Pos::new(0), &[SEQ, SEQ], true).unwrap();
    println!("dup: {:?} {:?}", c.decode(&b), c.is_poisoned());
    println!("{:?}", c.memory().seq_pos_max(SEQ));
    println!("{:?}", c.memory().seq_rm(SEQ, ..));
    println!("{:?}", c.memory().seq_pos_max(SEQ));
}
#[test]
fn dup_pos() {
    let m = load(Tiny::Llama);
    let mut c = Context::new(&m, &params()).unwrap();
    let mut b = Batch::new();
    b.push(Token::new(5), Pos::new(0), &[SEQ], true).unwrap();
    b.push(Token::new(6), Pos::new(0), &[SEQ], true).unwrap();
    println!("dup pos: {:?} {:?}", c.decode(&b), c.is_poisoned());
    println!("{:?}", c.memory().seq_pos_max(SEQ));
    println!("{:?}", c.memory().seq_rm(SEQ, ..));
    println!("{:?}", c.memory().seq_pos_max(SEQ));
}
#[test]
fn recurrent_rm() {
    for t in [Tiny::Mamba, Tiny::Jamba] {
    let m = load(t);
    let mut c = Context::new(&m, &params()).unwrap();
    decode(&mut c, &tokens(&m, "Hello world"), SEQ, 0);
    println!("{t} {:?} {:?} shift {:?}", c.memory().seq_pos_min(SEQ), c.memory().seq_pos_max(SEQ), c.memory().can_shift());
    println!("rm 0..3 {:?}", c.memory().seq_rm(SEQ, 0..3));
    println!("{t} {:?} {:?}", c.memory().seq_pos_min(SEQ), c.memory().seq_pos_max(SEQ));
    println!("rm 2..3 {:?}", c.memory().seq_rm(SEQ, 2..3));
    println!("rm 5.. {:?}", c.memory().seq_rm(SEQ, 5..));
    println!("{t} {:?} {:?}", c.memory().seq_pos_min(SEQ), c.memory().seq_pos_max(SEQ));
    println!("rm 100.. {:?}", c.memory().seq_rm(SEQ, 100..));
    println!("add {:?}", c.memory().seq_add(SEQ, .., 3));
    println!("{t} {:?} {:?}", c.memory().seq_pos_min(SEQ), c.memory().seq_pos_max(SEQ));
    println!("div {:?}", c.memory().seq_div(SEQ, .., 2));
    println!("{t} {:?} {:?}", c.memory().seq_pos_min(SEQ), c.memory().seq_pos_max(SEQ));
    println!("rm {:?}", c.memory().seq_rm(SEQ, ..));
    println!("{t} {:?} {:?}", c.memory().seq_pos_min(SEQ), c.memory().seq_pos_max(SEQ));
    }
}
#[test]
fn error_log() {
    let m = load(Tiny::Llama);
    let mut c = Context::new(&m, &params()).unwrap();
    let mut b = Batch::new();
    b.push(Token::new(5), Pos::new(0), &[SEQ], true).unwrap();
    b.push(Token::new(5), Pos::new(7), &[SEQ], true).unwrap();
    println!("gap: {}", c.decode(&b).unwrap_err());
}
#[test]
fn seq_batch() {
    let m = load(Tiny::Llama);
    println!("n_seq 64 n_batch 16: {:?}", Context::new(&m, &params().n_seq_max(64).n_batch(16)).map(|c| format!("{c:?}")));
    println!("kvu {:?}", Context::new(&m, &params().n_seq_max(64).n_batch(16).kv_unified(true)).map(|c| format!("{c:?}")));
    println!("n_seq 256 n_ctx 1: {:?}", Context::new(&m, &params().n_seq_max(256).n_ctx(1)).map(|c| format!("{c:?}")));
    println!("ctx 0: {:?}", Context::new(&m, &params().n_ctx(0)).map(|c| format!("{c:?}")));
    println!("ctx 1: {:?}", Context::new(&m, &params().n_ctx(1)).map(|c| format!("{c:?}")));
    println!("ctx 2^30: {:?}", Context::new(&m, &params().n_ctx(1<<30)).map(|c| format!("{c:?}")));
    println!("quant v: {:?}", Context::new(&m, &params().type_v(CacheType::Q4_0).flash_attention(FlashAttention::Disabled)).map(|c| format!("{c:?}")));
    println!("ubatch>batch: {:?}", Context::new(&m, &params().n_batch(8).n_ubatch(64)).map(|c| format!("{c:?}")));
}
