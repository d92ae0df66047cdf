//! Passwords: what makes a good one, and how they are kept.
//!
//! Hashing costs 19 MiB and tens of milliseconds on purpose. It runs on threads of its own, a few at a time; more than a queue of those is refused rather than let
//! strangers fill the memory. Somebody who is not there, or has no password, costs the same hash as everybody else.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use model::{Ids, Secret};
use tokio::sync::Semaphore;

use crate::{Error, ErrorKind};

/// Fewest characters. With the list of common ones refused, twelve are beyond guessing at the rate the throttle leaves.
pub const LENGTH_MIN: usize = 12;
/// Most bytes: a long sentence. What is longer is a mistake or an attack.
pub const LENGTH_MAX: usize = 256;

/// Memory of one hash in KiB, its passes and its lanes: OWASP's first recommendation for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at once: 38 MiB.
const AT_ONCE: usize = 2;
/// Hashes that wait for their turn at most. At the speed of one core that is some seconds.
const WAITING_MAX: usize = 64;
const SALT_LEN: usize = 16;

/// What nobody's password matches, with the parameters everybody's has.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmUu$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Words the published lists of common passwords begin with, lower case, without what people put behind them. The rules below catch variations.
const COMMON: &str = include_str!("common_passwords.txt");

/// Makes and checks hashes, a few at a time.
pub struct Passwords {
    seats: Arc<Semaphore>,
    queue: Semaphore,
    work: AtomicU64,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            seats: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Semaphore::new(AT_ONCE + WAITING_MAX),
            work: AtomicU64::new(0),
        }
    }
}

impl Passwords {
    /// The hash to keep of a new password, which was checked.
    #[crate::boxed]
    pub async fn hash(&self, ids: &Ids, password: &Secret) -> Result<String, Error> {
        let mut salt = [0; SALT_LEN];
        ids.fill(&mut salt);
        let password = password.clone();
        self.run(move || {
            let hash: Result<PasswordHash, _> = argon2().hash_password_with_salt(password.reveal().as_bytes(), &salt);
            hash.map(|hash| hash.to_string())
        })
        .await?
        .map_err(|error| Error::internal(format!("a password cannot be hashed: {error}")))
    }

    /// Whether a password is the one that was kept. `None` costs the same and is never right.
    #[crate::boxed]
    pub async fn verify(&self, kept: Option<String>, password: &Secret) -> Result<bool, Error> {
        let password = password.clone();
        self.run(move || {
            let is_somebody = kept.is_some();
            let kept = kept.unwrap_or_else(|| NOBODY.to_owned());
            let is_right = PasswordHash::new(&kept)
                .is_ok_and(|kept| argon2().verify_password(password.reveal().as_bytes(), &kept).is_ok());
            is_right && is_somebody
        })
        .await
    }

    /// How many hashes were made or checked: two paths that cost the same have the same count.
    pub fn work(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _place = self.queue.try_acquire().map_err(|_| busy())?;
        // The seat goes with the work, also when whoever asked has gone away.
        let seat = Arc::clone(&self.seats).acquire_owned().await.map_err(|_| busy())?;
        self.work.fetch_add(1, Ordering::Relaxed);
        let done = tokio::task::spawn_blocking(move || {
            let _seat = seat;
            work()
        });
        done.await.map_err(|error| Error::internal(format!("hashing a password ended: {error}")))
    }
}

fn busy() -> Error {
    let detail = "Too many people are signing in at this moment. Try again in a few seconds.";
    Error::new(ErrorKind::Unavailable, "sign_in_busy", detail).with_retry_after_ms(5_000)
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within Argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// What is wrong with a new password for somebody with this e-mail address, in words for them; `None` when nothing is.
pub fn fault(password: &str, email: &str) -> Option<&'static str> {
    if password.chars().count() < LENGTH_MIN {
        return Some("use at least 12 characters; a sentence is easy to remember");
    }
    if password.len() > LENGTH_MAX {
        return Some("use at most 256 bytes");
    }
    let plain = password.to_lowercase();
    if is_pattern(&plain) {
        return Some("this repeats or counts up a few characters and is guessed at once; choose another");
    }
    if is_common(&plain) {
        return Some("this is one of the passwords that are tried first; choose another");
    }
    let (local, domain) = email.split_once('@').unwrap_or((email, ""));
    let known = [local, domain.split('.').next().unwrap_or_default(), "tidings"];
    let mut rest = plain;
    for word in known.iter().filter(|word| word.len() >= 3) {
        rest = rest.replace(&word.to_lowercase(), "");
    }
    if rest.chars().filter(|c| c.is_alphanumeric()).count() < LENGTH_MIN / 2 {
        return Some("this is made of your own address or our name; choose another");
    }
    None
}

/// True for a common word with digits and signs around it, also with letters written as digits, and for two common words in a row.
fn is_common(plain: &str) -> bool {
    let is_listed = |word: &str| COMMON.lines().any(|common| common == word);
    let is_made_of = |text: &str| {
        is_listed(text)
            || (1..text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| {
                let (one, two) = text.split_at(at);
                is_listed(one) && (is_listed(two) || two.chars().all(|c| !c.is_alphabetic()))
            })
    };
    let bare = plain.trim_matches(|c: char| !c.is_alphabetic());
    let unleeted = |text: &str| text.chars().map(unleet).collect::<String>();
    let joined: String = plain.chars().filter(|c| c.is_alphabetic()).collect();
    [plain, bare, &unleeted(plain), &unleeted(bare), &joined].into_iter().any(is_made_of)
}

/// The letter a digit or sign stands for.
const fn unleet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// Rows a finger runs along.
const ROWS: [&str; 6] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
];

/// True when at least half of it follows a row, forwards or backwards, or it repeats at most four different characters or one short piece.
fn is_pattern(plain: &str) -> bool {
    let chars: Vec<char> = plain.chars().collect();
    let different = chars.iter().collect::<std::collections::BTreeSet<_>>().len();
    let repeats =
        |length: usize| chars.chunks(length).all(|chunk| chunk.iter().eq(chars[..length].iter().take(chunk.len())));
    if different <= 4 || (1..=4).any(|length| length < chars.len() && repeats(length)) {
        return true;
    }
    let follows = |pair: &&[char]| {
        let (forwards, backwards) = (String::from_iter([pair[0], pair[1]]), String::from_iter([pair[1], pair[0]]));
        ROWS.iter().any(|row| row.contains(&forwards) || row.contains(&backwards))
    };
    let followed = chars.windows(2).filter(follows).count();
    followed * 3 >= (chars.len() - 1) * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_password_is_long_and_not_the_first_guess() {
        let check = |password: &str, expected: Option<&str>| {
            let fault = fault(password, "ada.lovelace@acme.example");
            match expected {
                None => assert_eq!(fault, None, "{password}"),
                Some(part) => assert!(fault.is_some_and(|fault| fault.contains(part)), "{password}: {fault:?}"),
            }
        };
        for good in [
            "purple tram waits calmly",
            "vK8#q2Lm!xT9",
            "Ein Igel im Regen",
            "correct-horse-battery",
            "пароль от старого дома",
            "kJx7pQz2mWv4",
        ] {
            check(good, None);
        }
        check("elevenchars", Some("12 characters"));
        check("", Some("12 characters"));
        check(&"x y".repeat(100), Some("256 bytes"));
        for pattern in [
            "aaaaaaaaaaaa",
            "abcabcabcabc",
            "123456789012",
            "qwertyuiop[]",
            "abcdefghijkl",
            "1qaz2wsx3edc",
            "121212343434",
            "987654321098",
        ] {
            check(pattern, Some("guessed at once"));
        }
        for common in [
            "password1234",
            "P@ssw0rd2026!",
            "Welcome123456",
            "letmein!!!!!!",
            "iloveyou2026",
            "passwordpassword",
            "monkeydragon",
            "Sunshine-2026",
        ] {
            check(common, Some("tried first"));
        }
        for own in ["ada.lovelace1", "acmeacme2026", "tidings-acme!"] {
            check(own, Some("your own address"));
        }
    }

    #[tokio::test]
    async fn nobody_costs_as_much_as_somebody() {
        let (passwords, ids) = (Passwords::default(), Ids::seeded(1));
        let password = Secret::new("purple tram waits calmly");
        let kept = passwords.hash(&ids, &password).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, passwords.hash(&ids, &password).await.unwrap(), "each has its own salt");
        let before = passwords.work();
        assert!(passwords.verify(Some(kept.clone()), &password).await.unwrap());
        assert!(!passwords.verify(Some(kept), &Secret::new("purple tram waits calmlY")).await.unwrap());
        assert!(!passwords.verify(None, &password).await.unwrap());
        assert_eq!(passwords.work() - before, 3);
        // The stand-in is a hash that is really computed: reading it succeeds, and its cost is everybody's.
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        assert_eq!(cost(&Params::try_from(&nobody).unwrap()), cost(argon2().params()));
    }
}
