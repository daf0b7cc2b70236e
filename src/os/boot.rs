//! Which start of the machine this is: process ids mean nothing after the next one.

/// The identity of this start of the machine; `None` where the system tells none.
pub fn id() -> Option<String> {
    platform::id().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Whether something that was written down under `then` is of this start of the machine. What is not known counts as
/// the same: processes are told apart by the moment they started as well.
pub fn is_this_one(then: Option<&str>) -> bool {
    match (then, id()) {
        (Some(then), Some(now)) => then == now,
        (None, _) | (_, None) => true,
    }
}

#[cfg(target_os = "linux")]
mod platform {
    pub(super) fn id() -> Option<String> {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
    }
}

/// macOS: the identity of the boot session. The time of the boot would move with the clock.
#[cfg(target_os = "macos")]
#[expect(unsafe_code, reason = "the standard library has no door to sysctl")]
mod platform {
    pub(super) fn id() -> Option<String> {
        let mut text = [0u8; 64];
        let mut length = text.len();
        // SAFETY: the name ends in a zero byte, and `length` is the size of the buffer that `text` is.
        let failed = unsafe {
            libc::sysctlbyname(
                c"kern.bootsessionuuid".as_ptr(),
                text.as_mut_ptr().cast(),
                &raw mut length,
                std::ptr::null_mut(),
                0,
            )
        };
        if failed != 0 {
            return None;
        }
        let text = text.get(..length)?;
        Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod platform {
    pub(super) fn id() -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_start_is_known_and_told_from_another() {
        if cfg!(any(target_os = "linux", target_os = "macos")) {
            assert_eq!(id(), id());
            assert!(id().is_some_and(|id| id.len() > 30));
            assert!(!is_this_one(Some("another")));
        }
        assert!(is_this_one(id().as_deref()));
        assert!(is_this_one(None), "a record of an older devctl");
    }
}
