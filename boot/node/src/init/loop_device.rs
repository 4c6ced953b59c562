//! Attaching a file to a loop device: the one ioctl(2) that init cannot do without.
#![allow(
    unsafe_code,
    reason = "LOOP_CTL_GET_FREE and LOOP_CONFIGURE are ioctls that rustix has no function for"
)]

use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::ioctl;

use crate::Error;

const LOOP_CTL_GET_FREE: ioctl::Opcode = 0x4C82;
const LOOP_CONFIGURE: ioctl::Opcode = 0x4C0A;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;

/// `struct loop_info64` of `include/uapi/linux/loop.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `LOOP_CTL_GET_FREE` returns the number of a free device as its result.
struct GetFree;

// SAFETY: the opcode takes no argument, and its result is read as the integer it is.
unsafe impl ioctl::Ioctl for GetFree {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> ioctl::Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut core::ffi::c_void {
        core::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        out: ioctl::IoctlOutput,
        _: *mut core::ffi::c_void,
    ) -> rustix::io::Result<u32> {
        u32::try_from(out).map_err(|_| Errno::INVAL)
    }
}

/// A loop device that goes away when its last user does.
#[derive(Debug)]
pub struct LoopDevice {
    /// `/dev/loop0`.
    pub path: PathBuf,
    /// Keeps it until it is mounted.
    _device: fs_err::File,
}

/// Attaches `image` read-only.
///
/// # Errors
/// The kernel has no loop devices, or refuses the file.
pub fn attach(image: &Path) -> Result<LoopDevice, Error> {
    let file = fs_err::File::open(image)?;
    let control = fs_err::OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    // Another attach may take the same number first; then the next one is asked for.
    for _ in 0..64 {
        // SAFETY: `GetFree` describes this opcode, and `control` is the loop control device.
        let number = unsafe { ioctl::ioctl(control.file(), GetFree) }
            .map_err(Error::system("get a loop device"))?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = fs_err::File::open(&path)?;
        match configure(&device, file.as_raw_fd(), image) {
            Ok(()) => return Ok(LoopDevice { path, _device: device }),
            Err(Errno::BUSY) => {}
            Err(errno) => {
                return Err(Error::system(format!("attach {} to a loop device", image.display()))(
                    errno,
                ));
            }
        }
    }
    Err(Error::system("get a loop device")(Errno::BUSY))
}

fn configure(device: &fs_err::File, image: RawFd, path: &Path) -> rustix::io::Result<()> {
    let mut file_name = [0; 64];
    let name = path.as_os_str().as_encoded_bytes();
    let length = name.len().min(63);
    file_name[..length].copy_from_slice(&name[..length]);
    let config = LoopConfig {
        fd: u32::try_from(image).map_err(|_| Errno::BADF)?,
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: READ_ONLY | AUTOCLEAR,
            file_name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, which `LoopConfig` is, field by field.
    unsafe {
        let setter = ioctl::Setter::<LOOP_CONFIGURE, LoopConfig>::new(config);
        ioctl::ioctl(device.file(), setter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernel_s_sizes() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
