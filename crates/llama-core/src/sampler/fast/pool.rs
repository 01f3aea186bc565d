//! Sampling from many rows at once.

use core::mem::ManuallyDrop;

use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::row_sampler::RowSampler;
use crate::backend;
use crate::error::{ParameterProblem, Result};
use crate::ffi::fork;
use crate::token::Token;

/// Logits per thread below which waking a thread takes longer than sampling.
const WORTH_A_THREAD: usize = 200_000;

/// A pool of threads that samples from many rows at once, each row with its own sampler. The threads sleep while
/// there is no work.
///
/// The assignment of rows to threads does not affect the results, which are those of [`RowSampler::sample_row`] for
/// each row. In a process forked after the pool was created, which does not have its threads, the calling thread
/// samples all rows.
///
/// ```
/// use llama_core::sampler::{RowSampler, RowSamplerPool};
/// use llama_core::SamplerChain;
///
/// # fn main() -> Result<(), llama_core::Error> {
/// let rows: Vec<Vec<f32>> = (0..4_u8).map(|row| vec![f32::from(row); 50_000]).collect();
/// let sampler = |seed| SamplerChain::builder().top_k(40).dist(seed).build_row();
/// let mut samplers = (0..4).map(sampler).collect::<Result<Vec<RowSampler>, _>>()?;
///
/// let pool = RowSamplerPool::new(2)?;
/// let mut jobs: Vec<_> = samplers.iter_mut().zip(rows.iter().map(Vec::as_slice)).collect();
/// let tokens = pool.sample(&mut jobs);
/// assert_eq!(tokens.len(), 4);
/// assert_eq!(*tokens[3].as_ref().unwrap(), sampler(3)?.sample_row(&rows[3])?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RowSamplerPool {
    n_threads: usize,
    /// All threads except the caller's.
    others: Option<ManuallyDrop<ThreadPool>>,
    /// Generation of the process that has the threads.
    generation: u32,
}

impl RowSamplerPool {
    /// Creates a pool of `n_threads` threads, including the one that calls [`sample`](Self::sample); with 1, no
    /// thread is started. More threads than rows or processors bring no benefit.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`](crate::ErrorKind::InvalidParameter) for 0 threads, for more than 1024, and if the system cannot start the
    /// threads.
    pub fn new(n_threads: usize) -> Result<Self> {
        let refused = |expected: String| ParameterProblem::new("n_threads", n_threads, expected);
        if !(1..=1024).contains(&n_threads) {
            return Err(refused("from 1 to 1024".to_owned()).into());
        }
        let build = || {
            let name = |index| format!("row-sampler-{index}");
            ThreadPoolBuilder::new().num_threads(n_threads - 1).thread_name(name).build()
        };
        let others = if n_threads > 1 {
            Some(build().map_err(|error| {
                refused(format!("a number of threads that the system can start: {error}"))
            })?)
        } else {
            None
        };
        // Forks are counted from the library's initialisation on.
        backend::init();
        Ok(Self { n_threads, others: others.map(ManuallyDrop::new), generation: fork::generation() })
    }

    /// Returns the number of threads, including the caller's.
    #[must_use]
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// Samples a token from each row with its sampler, and accepts it there. The results are in the order of the
    /// rows, each with the errors of [`RowSampler::sample_row`].
    pub fn sample(&self, jobs: &mut [(&mut RowSampler, &[f32])]) -> Vec<Result<Token>> {
        let logits: usize = jobs.iter().map(|(_, row)| row.len()).sum();
        let n_threads = self.n_threads.min(jobs.len()).min(logits / WORTH_A_THREAD + 1);
        let mut results: Vec<Option<Result<Token>>> = Vec::new();
        results.resize_with(jobs.len(), || None);
        let queue = Mutex::new(jobs.iter_mut().zip(&mut results));
        let work = || {
            // The lock is held only while the next row is taken.
            let next = || queue.lock().next();
            while let Some(((sampler, row), result)) = next() {
                *result = Some(sampler.sample_row(row));
            }
        };
        match &self.others {
            Some(others) if n_threads > 1 && self.generation == fork::generation() => {
                others.in_place_scope(|scope| {
                    (1..n_threads).for_each(|_| scope.spawn(|_| work()));
                    work();
                });
            }
            _ => work(),
        }
        results.into_iter().flatten().collect()
    }
}

impl Drop for RowSamplerPool {
    fn drop(&mut self) {
        if let Some(others) = self.others.take()
            && self.generation == fork::generation()
        {
            // In another process this would wait for locks of threads that do not exist there.
            drop(ManuallyDrop::into_inner(others));
        }
    }
}
