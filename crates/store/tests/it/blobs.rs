//! Files on disk.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt as _, path::PathBuf};

use bytes::Bytes;
use model::Blobs as _;
use store::blobs::DiskBlobs;

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A directory of its own, gone with the test.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidings-blobs-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_file_is_kept_over_restarts_and_removed_once() {
    let home = Home::new("kept");
    let blobs = DiskBlobs::new(&home.0).unwrap();
    blobs.put(HASH, Bytes::from_static(b"abc")).await.unwrap();
    blobs.put(HASH, Bytes::from_static(b"abc")).await.unwrap();
    let file = home.0.join("ba").join(HASH);
    assert_eq!(fs::read(&file).unwrap(), b"abc");
    assert_eq!(fs::metadata(home.0.join("ba")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(home.0.join("unfinished")).unwrap().count(), 0);

    let blobs = DiskBlobs::new(&home.0).unwrap();
    assert_eq!(blobs.get(HASH).await.unwrap(), "abc");
    blobs.remove(HASH).await.unwrap();
    blobs.remove(HASH).await.unwrap();
    assert_eq!(blobs.get(HASH).await.unwrap_err().kind(), ErrorKind::NotFound);
    blobs.put(HASH, Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(blobs.get(HASH).await.unwrap(), "abc");
}

#[tokio::test]
async fn a_name_that_is_no_hash_leads_nowhere() {
    let home = Home::new("names");
    let blobs = DiskBlobs::new(&home.0).unwrap();
    for name in ["", "../../etc/passwd", &HASH.to_uppercase(), &HASH[1..], &format!("../{}", &HASH[3..])] {
        let put = blobs.put(name, Bytes::from_static(b"x")).await;
        let (get, remove) = (blobs.get(name).await, blobs.remove(name).await);
        let kinds = [put.unwrap_err().kind(), get.unwrap_err().kind(), remove.unwrap_err().kind()];
        assert_eq!(kinds, [ErrorKind::InvalidInput; 3], "{name}");
    }
}

#[tokio::test]
async fn what_a_crash_left_behind_is_removed_and_what_others_write_is_not() {
    let home = Home::new("crash");
    DiskBlobs::new(&home.0).unwrap();
    let unfinished = home.0.join("unfinished");
    // No process has this number: it is above what Linux gives out.
    let (dead, alive) = (unfinished.join("4194305-0"), unfinished.join("1-0"));
    fs::write(&dead, "half").unwrap();
    fs::write(&alive, "half").unwrap();
    DiskBlobs::new(&home.0).unwrap();
    assert_eq!((dead.exists(), alive.exists()), (false, true));
}
