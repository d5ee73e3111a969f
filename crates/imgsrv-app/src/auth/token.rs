//! The format of API tokens.
//!
//! `imgsrv_at_` + look-up key (12 characters of `a-z0-9`) + `_` + secret (32 random bytes, 43 characters of
//! base64url) + checksum (6 characters of base64url: the start of the SHA-256 of everything before it). Because of the
//! checksum, a mistyped or truncated token is refused without a query.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use imgsrv_domain::{auth::TokenKey, ports::CatalogError};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const SECRET: usize = 43;
const CHECKSUM: usize = 6;

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CatalogError> {
    let mut random = [0; N];
    getrandom::fill(&mut random)
        .map_err(|error| CatalogError::backend(format!("the operating system returned no random bytes: {error}")))?;
    Ok(random)
}

/// Creates a token from random bytes of the operating system. Its plaintext is shown once and never stored.
pub(crate) fn mint() -> Result<(TokenKey, String), CatalogError> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let random: [u8; 64] = random()?;
    let (secret, letters) = random.split_at(32);
    // 252 is the greatest multiple of 36 below 256: larger bytes would make some letters more likely.
    let key: String = letters
        .iter()
        .filter(|byte| **byte < 252)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % 36]))
        .take(TokenKey::LENGTH)
        .collect();
    let Ok(parsed) = key.parse() else { return mint() };
    let body = format!("{}{key}_{}", TokenKey::PREFIX, URL_SAFE_NO_PAD.encode(secret));
    let plaintext = format!("{body}{}", checksum(&body));
    Ok((parsed, plaintext))
}

/// The look-up key of a token whose format and checksum are valid.
pub(crate) fn parse(raw: &str) -> Option<TokenKey> {
    let rest = raw.strip_prefix(TokenKey::PREFIX)?;
    let (key, secret) = rest.split_at_checked(TokenKey::LENGTH)?;
    if !rest.is_ascii() || secret.len() != 1 + SECRET + CHECKSUM || !secret.starts_with('_') {
        return None;
    }
    let (body, sum) = raw.split_at_checked(raw.len() - CHECKSUM)?;
    let matches: bool = checksum(body).as_bytes().ct_eq(sum.as_bytes()).into();
    matches.then(|| key.parse().ok())?
}

/// SHA-256 of the whole token, which is stored instead of its secret.
pub(crate) fn hash(raw: &str) -> [u8; 32] {
    Sha256::digest(raw).into()
}

/// Compares two hashes in constant time.
pub(crate) fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.ct_eq(right).into()
}

fn checksum(body: &str) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(Sha256::digest(body));
    text.truncate(CHECKSUM);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_parses_and_an_altered_one_does_not() {
        let (key, plaintext) = mint().expect("randomness");
        assert_eq!(plaintext.len(), 10 + 12 + 1 + 43 + 6);
        assert_eq!(parse(&plaintext), Some(key));
        for at in 0..plaintext.len() {
            let mut altered = plaintext.clone().into_bytes();
            altered[at] = if altered[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(parse(&String::from_utf8(altered).expect("ASCII")), None, "byte {at}");
        }
        assert_eq!(parse(&plaintext[..plaintext.len() - 1]), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("imgsrv_at_é"), None);
    }
}
