//! Images and their aliases.

use crate::{
    access::Visibility,
    ids::{AliasId, ImageId, VersionId},
    names::{AliasName, ImageName, VersionName},
    text::{LongText, ShortText},
    time::Timestamp,
    transition::Revision,
};

/// A named series of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its unique name.
    pub name: ImageName,
    /// Its name for people.
    pub display_name: Option<ShortText>,
    /// A description for people.
    pub description: Option<LongText>,
    /// Who may read its published versions.
    pub visibility: Visibility,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its metadata last changed.
    pub updated_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
}

/// A name that points to one published version of its image and may be moved to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Its id, which stays when it moves.
    pub id: AliasId,
    /// Its image.
    pub image_id: ImageId,
    /// Its name, unique in the image together with the versions.
    pub name: AliasName,
    /// The version it points to.
    pub version_id: VersionId,
    /// The name of that version.
    pub version: VersionName,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last moved; see [`Alias::time_of_move`].
    pub updated_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
}

impl Alias {
    /// The time of a move at `now` to a version that was published at `published`, after a move of an alias of that name
    /// at `previous`. It is not before the publication, and in a later second than the previous move, also when the clock
    /// was set back: HTTP has times in seconds, and clients find out by them that the alias was moved.
    pub fn time_of_move(previous: Option<Timestamp>, published: Timestamp, now: Timestamp) -> Timestamp {
        const SECOND: i64 = 1_000_000;
        let next_second = |previous: Timestamp| {
            Timestamp::from_micros(previous.micros().div_euclid(SECOND).saturating_add(1).saturating_mul(SECOND))
        };
        previous.map(next_second).into_iter().fold(now.max(published), Timestamp::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_in_a_later_second_than_the_previous_one() {
        for (previous, published, now, expected) in [
            (None, 1_000_000, 2_500_000, 2_500_000),
            (None, 3_000_000, 2_500_000, 3_000_000),
            (Some(2_400_000), 1_000_000, 2_500_000, 3_000_000),
            (Some(2_999_999), 1_000_000, 3_000_000, 3_000_000),
            (Some(2_999_999), 1_000_000, 9_000_001, 9_000_001),
            (Some(8_000_000), 1_000_000, 2_500_000, 9_000_000),
            (Some(-1), -5, -4, 0),
        ] {
            let [published, now, expected] = [published, now, expected].map(Timestamp::from_micros);
            assert_eq!(Alias::time_of_move(previous.map(Timestamp::from_micros), published, now), expected);
        }
    }
}
