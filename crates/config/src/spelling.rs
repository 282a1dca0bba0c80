//! The known word that an unknown one was probably meant to be.

/// The word nearest to `wrong`, if one is near enough to be a slip.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The measure takes time proportional to both lengths.
    if wrong.len() > 40 {
        return None;
    }
    let most = wrong.chars().count().div_ceil(3).min(3);
    known
        .filter(|word| !word.is_empty())
        .map(|word| (distance(wrong, word), word))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, r) in row.iter_mut().skip(1).zip(right.chars()) {
            before = (before + 1).min(*cell + 1).min(diagonal + usize::from(l != r));
            diagonal = core::mem::replace(cell, before);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (left, right, wanted) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("dpd_dealy", "dpd_delay", 2)]
        {
            assert_eq!(distance(left, right), wanted, "{left} {right}");
            assert_eq!(distance(right, left), wanted, "{right} {left}");
        }
    }

    #[test]
    fn only_a_slip_is_corrected() {
        let known = ["dpd_delay", "dpd_retry", "passive"];
        assert_eq!(nearest("dpd_dealy", known.into_iter()), Some("dpd_delay"));
        assert_eq!(nearest("pasive", known.into_iter()), Some("passive"));
        assert_eq!(nearest("shared_secret", known.into_iter()), None);
    }
}
