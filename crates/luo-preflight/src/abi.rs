// SPDX-License-Identifier: MIT OR Apache-2.0
//! The formats that the running kernel hands over. What is not known is not guessed.

use crate::check::Known;
use crate::image::family_of;

/// The families without which there is no live update.
pub const FAMILIES: [&str; 3] = ["kho", "memfd", "luo"];

/// The formats that the running kernel hands over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abi {
    /// Those that are known, each as `family-vN`.
    pub known: Vec<String>,
    /// Families of which the version is not known, each with the reason.
    pub unknown: Vec<(String, String)>,
}

impl Abi {
    /// Puts together what is known: what the orchestrator has told, what the kernel shows
    /// in debugfs, and for families that neither names what stands in the running kernel's
    /// own image, which is read by `own` if need be.
    pub fn of(
        told: &[impl AsRef<str>],
        shown: &[String],
        own: impl FnOnce() -> Known<Vec<String>>,
    ) -> Self {
        let told = told.iter().map(|string| string.as_ref().to_owned());
        let mut known: Vec<String> = shown.to_vec();
        let has = |known: &[String], family: &str| {
            let mut known = known.iter();
            known.any(|string| family_of(string) == Some(family))
        };
        for string in told {
            // What the kernel shows is what it hands over.
            if !family_of(&string).is_some_and(|family| has(&known, family)) {
                known.push(string);
            }
        }
        let missing: Vec<_> = FAMILIES
            .into_iter()
            .filter(|family| !has(&known, family))
            .collect();
        let mut unknown = Vec::new();
        if !missing.is_empty() {
            let own = own();
            for family in missing {
                match only(&own, family) {
                    Ok(string) => known.push(string),
                    Err(why) => unknown.push((family.to_owned(), why)),
                }
            }
        }
        let place = |string: &String| {
            let family = family_of(string);
            let mut families = FAMILIES.iter();
            let place = families.position(|known| Some(*known) == family);
            place.unwrap_or(FAMILIES.len())
        };
        known.sort_by_key(place);
        Self { known, unknown }
    }
}

/// The only version of a family that an image has.
fn only(own: &Known<Vec<String>>, family: &str) -> Known<String> {
    let strings = own.as_ref().map_err(String::clone)?;
    let all: Vec<_> = strings
        .iter()
        .filter(|string| family_of(string) == Some(family))
        .collect();
    match *all.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(format!("no {family}-v* is in the running kernel's image")),
        _ => Err(format!(
            "the running kernel's image has several of {family}-v*"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_told_stands_in_the_image() {
        let own = || Ok(strings(&["kho-v3", "luo-v4", "memfd-v1", "memfd-v2"]));
        let abi = Abi::of(&["luo-v5"], &[], own);
        assert_eq!(abi.known, ["kho-v3", "luo-v5"]);
        let (family, why) = &abi.unknown[0];
        assert!(family == "memfd" && why.contains("several"), "{why}");
        let none: [&str; 0] = [];
        let abi = Abi::of(&none, &[], || Err("no image".to_owned()));
        assert!(abi.known.is_empty());
        assert!(abi.unknown.iter().all(|(_, why)| why == "no image"));
        assert_eq!(abi.unknown.len(), 3);
    }

    #[test]
    fn what_the_kernel_shows_is_believed() {
        let told = ["luo-v5", "memfd-v2", "luo-contract-v1"];
        let shown = strings(&["kho-v9", "other-v1"]);
        let abi = Abi::of(&told, &shown, || panic!("the image is not needed"));
        assert_eq!(
            abi.known,
            [
                "kho-v9",
                "memfd-v2",
                "luo-v5",
                "other-v1",
                "luo-contract-v1"
            ]
        );
    }
}
