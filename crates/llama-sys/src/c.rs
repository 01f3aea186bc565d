//! C types that are written by hand because they differ between platforms.

#[cfg(target_env = "msvc")]
use core::ffi::c_int as EnumInteger;
#[cfg(not(target_env = "msvc"))]
use core::ffi::c_uint as EnumInteger;
use core::marker::{PhantomData, PhantomPinned};

/// The integer of an enum without negative values: `int` with MSVC, `unsigned int` with every other compiler. Enums
/// with a negative value hold a `c_int` everywhere.
pub type CEnum = EnumInteger;

/// C's `FILE`, an opaque type used by address.
#[repr(C)]
pub struct FILE {
    opaque: [u8; 0],
    marker: PhantomData<(*mut u8, PhantomPinned)>,
}
