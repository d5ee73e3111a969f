//! What callers see of their rights.

use super::{Action, Claimed, ImagePattern, ImageScope, Rights, Target};

/// The images on which an action is allowed, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// The images.
    pub images: ImageScope,
    /// The scope that must cover an image as well.
    pub within: ImageScope,
}

impl Rights {
    /// Where the action is allowed, or would be if an image of such a name existed; `None` when nowhere.
    pub fn permitted(&self, action: Action) -> Option<Permitted> {
        if !self.allow(action, Target::Anything) {
            return None;
        }
        let claimed = self.claimed.as_ref().filter(|claimed| claimed.allowed(action).is_some()).map(Claimed::scope);
        let granted = self.granted(action).cloned().chain(claimed).fold(ImageScope::none(), ImageScope::or);
        let left = self.narrowing.images_for(action);
        let (ImageScope::Matching(own), ImageScope::Matching(others)) = (&granted, &left) else {
            let images = if granted == ImageScope::Every { left } else { granted };
            return Some(Permitted { images, within: ImageScope::Every });
        };
        let pairs = own.iter().flat_map(|own| others.iter().map(move |other| (own, other)));
        let pairs: Vec<_> = pairs.filter(|(own, other)| own.overlaps(other)).collect();
        let narrower = |(own, other): &(&ImagePattern, &ImagePattern)| {
            if own.contains(other) { Some((*other).clone()) } else { other.contains(own).then(|| (*own).clone()) }
        };
        // Patterns of which neither contains the other have no simple intersection.
        Some(match pairs.iter().map(narrower).collect::<Option<_>>() {
            Some(images) => Permitted { images: ImageScope::Matching(images), within: ImageScope::Every },
            None => Permitted {
                images: ImageScope::Matching(pairs.iter().map(|(own, _)| (*own).clone()).collect()),
                within: ImageScope::Matching(pairs.iter().map(|(_, other)| (*other).clone()).collect()),
            },
        })
    }
}
