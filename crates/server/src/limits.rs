//! The system's limits on this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors we need besides those of clients: connections to providers (at most 1,024), the database, files.
const OURS: u64 = 2_048;

/// Raises the limit of open files as far as we may, and answers how many clients that leaves room for, at most `wanted`. Shells and service managers
/// commonly start programs with 1,024.
pub fn open_files(wanted: usize) -> usize {
    let before = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(OURS);
    let may_have = before.maximum.unwrap_or(u64::MAX).min(needed);
    let has = before.current.unwrap_or(u64::MAX);
    let has = if has < may_have {
        let raised = rustix::process::Rlimit { current: Some(may_have), ..before };
        if setrlimit(Resource::Nofile, raised).is_ok() { may_have } else { has }
    } else {
        has
    };
    let room = room(wanted, has);
    if room < wanted {
        tracing::warn!(
            open_files = has,
            connections = room,
            "Fewer connections than `limits.connections` fit: raise the limit of open files (ulimit -n)"
        );
    }
    room
}

/// Clients that fit beside our own descriptors; at least half of what there is.
fn room(wanted: usize, open_files: u64) -> usize {
    let left = open_files.saturating_sub(OURS).max(open_files / 2);
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_we_leave() {
        assert_eq!(room(8_192, 1_000_000), 8_192);
        assert_eq!(room(8_192, 4_096), 2_048);
        assert_eq!(room(8_192, 1_024), 512);
    }
}
