//! The format of API tokens.
//!
//! `imgsrv_at_` + look-up key (12 characters of `a-z0-9`) + `_` + secret (32 random bytes, 43 characters of
//! base64url) + checksum (6 characters of base64url: the start of the SHA-256 of everything before it). Because of the
//! checksum, a mistyped or truncated token is refused without a query.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use imgsrv_domain::auth::TokenKey;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "imgsrv_at_";
const SECRET: usize = 43;
const CHECKSUM: usize = 6;

/// A new token. Its plaintext is shown once and never stored.
pub(crate) struct MintedToken {
    pub(crate) key: TokenKey,
    pub(crate) plaintext: String,
}

/// The operating system provided no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no random bytes: {0}")]
pub(crate) struct NoRandomness(getrandom::Error);

/// Creates a token from random bytes of the operating system.
pub(crate) fn mint() -> Result<MintedToken, NoRandomness> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = [0; 64];
    getrandom::fill(&mut random).map_err(NoRandomness)?;
    let (secret, letters) = random.split_at(32);
    // 252 is the greatest multiple of 36 below 256: larger bytes would make some letters more likely.
    let key: String = letters
        .iter()
        .filter(|byte| **byte < 252)
        .map(|byte| char::from(LETTERS[usize::from(*byte) % 36]))
        .take(TokenKey::LENGTH)
        .collect();
    let Ok(parsed) = key.parse() else { return mint() };
    let body = format!("{PREFIX}{key}_{}", URL_SAFE_NO_PAD.encode(secret));
    let plaintext = format!("{body}{}", checksum(&body));
    Ok(MintedToken { key: parsed, plaintext })
}

/// The look-up key of a token whose format and checksum are valid.
pub(crate) fn parse(raw: &str) -> Option<TokenKey> {
    let rest = raw.strip_prefix(PREFIX)?;
    let well_formed = rest.is_ascii()
        && rest.len() == TokenKey::LENGTH + 1 + SECRET + CHECKSUM
        && rest.as_bytes()[TokenKey::LENGTH] == b'_';
    if !well_formed {
        return None;
    }
    let body = &raw[..raw.len() - CHECKSUM];
    let matches: bool = checksum(body).as_bytes().ct_eq(&raw.as_bytes()[raw.len() - CHECKSUM..]).into();
    matches.then(|| rest[..TokenKey::LENGTH].parse().ok())?
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
        let minted = mint().expect("randomness");
        assert_eq!(minted.plaintext.len(), 10 + 12 + 1 + 43 + 6);
        assert_eq!(parse(&minted.plaintext), Some(minted.key));
        for at in 0..minted.plaintext.len() {
            let mut altered = minted.plaintext.clone().into_bytes();
            altered[at] = if altered[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(parse(&String::from_utf8(altered).expect("ASCII")), None, "byte {at}");
        }
        assert_eq!(parse(&minted.plaintext[..minted.plaintext.len() - 1]), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("imgsrv_at_é"), None);
    }
}
