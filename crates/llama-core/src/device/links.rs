//! The servers whose devices a model uses.

#[cfg(feature = "rpc")]
use std::sync::Arc;

use crate::device::Device;
use crate::error::Result;
#[cfg(feature = "rpc")]
use crate::rpc::Link;

/// The servers of other machines that have a part of a model. Empty without the feature `rpc`.
#[derive(Clone, Default)]
pub(crate) struct Links {
    #[cfg(feature = "rpc")]
    links: Vec<Arc<Link>>,
}

impl Links {
    /// Finds the servers of devices.
    #[cfg_attr(
        not(feature = "rpc"),
        allow(unused_variables, clippy::needless_pass_by_value, reason = "all devices are this machine's")
    )]
    pub(crate) fn of(devices: impl Iterator<Item = Device>) -> Self {
        #[cfg(feature = "rpc")]
        {
            let mut links: Vec<Arc<Link>> = Vec::new();
            for link in devices.filter_map(Link::of) {
                if !links.iter().any(|other| Arc::ptr_eq(other, &link)) {
                    links.push(link);
                }
            }
            Self { links }
        }
        #[cfg(not(feature = "rpc"))]
        Self {}
    }

    /// Fails if a server has failed, which is final. llama.cpp does not notice it: it gets zeros in place of results
    /// (rpc/relay.rs).
    #[inline]
    #[cfg_attr(not(feature = "rpc"), allow(clippy::unnecessary_wraps, reason = "nothing can fail"))]
    pub(crate) fn check(&self) -> Result<()> {
        #[cfg(feature = "rpc")]
        self.links.iter().try_for_each(|link| link.check())?;
        Ok(())
    }

    /// Returns whether a part of the model is on another machine.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        #[cfg(feature = "rpc")]
        return self.links.is_empty();
        #[cfg(not(feature = "rpc"))]
        true
    }

    /// Returns whether this process is a fork of the one that connected. Nothing can be freed in it: ggml would wait for
    /// its thread in the parent process (ggml-rpc.cpp, `rpc_dispatcher::send`).
    pub(crate) fn are_of_parent(&self) -> bool {
        #[cfg(feature = "rpc")]
        return self.links.iter().any(|link| link.is_of_parent());
        #[cfg(not(feature = "rpc"))]
        false
    }
}
