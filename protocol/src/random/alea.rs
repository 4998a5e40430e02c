//! The generator of Meteor's seeded randomness, Alea 0.9 with the hash called Mash. Stub and server
//! must draw the same numbers, so every step uses doubles, as JavaScript does.

use super::{ID_LENGTH, SECRET, UNMISTAKABLE};

/// A generator whose numbers depend only on its seeds. Do not use it for secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct Alea {
    state: [f64; 3],
    carry: f64,
}

const TWO_32: f64 = 4_294_967_296.0;
const TWO_MINUS_32: f64 = 1.0 / TWO_32;

impl Alea {
    /// A generator with these seeds, whose order matters.
    pub fn new(seeds: &[&str]) -> Self {
        let mut mash = Mash::new();
        let mut state = [0.0; 3].map(|_: f64| mash.mix(" "));
        for seed in seeds {
            for number in &mut state {
                *number -= mash.mix(seed);
                if *number < 0.0 {
                    *number += 1.0;
                }
            }
        }
        Self { state, carry: 1.0 }
    }

    /// The next number, from 0 up to but not including 1.
    pub fn fraction(&mut self) -> f64 {
        let [first, second, third] = self.state;
        let product = 2_091_639.0 * first + self.carry * TWO_MINUS_32;
        self.carry = product.trunc();
        let number = product - self.carry;
        self.state = [second, third, number];
        number
    }

    /// An id of 17 characters.
    pub fn id(&mut self) -> String {
        self.text(UNMISTAKABLE, ID_LENGTH)
    }

    /// Lower-case hexadecimal digits.
    pub fn hex(&mut self, digits: usize) -> String {
        self.text("0123456789abcdef", digits)
    }

    /// A text of characters that need no escape in a URL. Meteor's default length is 43.
    pub fn secret(&mut self, length: usize) -> String {
        self.text(SECRET, length)
    }

    /// One of the characters of `alphabet`; `None` if it is empty.
    pub fn choice(&mut self, alphabet: &str) -> Option<char> {
        let place = self.place(alphabet.chars().count());
        alphabet.chars().nth(place)
    }

    /// One of several things; `None` if there are none.
    pub fn choose<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        let place = self.place(things.len());
        things.get(place)
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        (0..length).filter_map(|_| self.choice(alphabet)).collect()
    }

    fn place(&mut self, length: usize) -> usize {
        (self.fraction() * length as f64) as usize
    }
}

/// A hash whose state carries over from one text to the next.
struct Mash(f64);

impl Mash {
    fn new() -> Self {
        Self(f64::from(0xefc8_249d_u32))
    }

    fn mix(&mut self, text: &str) -> f64 {
        let mut n = self.0;
        for unit in text.encode_utf16() {
            n += f64::from(unit);
            let mut h = 0.025_196_032_824_169_38 * n;
            n = unsigned(h);
            h -= n;
            h *= n;
            n = unsigned(h);
            h -= n;
            n += h * TWO_32;
        }
        self.0 = n;
        unsigned(n) * TWO_MINUS_32
    }
}

/// JavaScript's `>>> 0` of a number that is not negative.
fn unsigned(number: f64) -> f64 {
    number.trunc() % TWO_32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_alphabets_are_harmless() {
        let mut alea = Alea::new(&["x"]);
        assert_eq!(alea.choice(""), None);
        assert_eq!(alea.choose::<u8>(&[]), None);
        assert_eq!(alea.id().len(), 17);
    }

    #[test]
    fn fractions_stay_below_one() {
        for seeds in [&[][..], &[""], &["a", "b"], &["é😀"]] {
            let mut alea = Alea::new(seeds);
            assert!((0..10_000).all(|_| (0.0..1.0).contains(&alea.fraction())));
        }
    }
}
