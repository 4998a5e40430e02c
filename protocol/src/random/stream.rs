//! The random numbers of one method call. Each purpose has its own sequence, so that stub and
//! server agree even if one of them draws more numbers for something else.

use std::collections::HashMap;

use super::Alea;

/// Named sequences that all depend on one seed.
#[derive(Clone, Debug)]
pub struct RandomStream {
    seed: String,
    // One for each requested name; names come from the server's own code.
    sequences: HashMap<String, Alea>,
}

impl RandomStream {
    /// The stream of a seed: a method call's `randomSeed`, or one that the server made.
    pub fn new(seed: impl Into<String>) -> Self {
        Self {
            seed: seed.into(),
            sequences: HashMap::new(),
        }
    }

    /// The seed it was made with.
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// The sequence of a name, continued from the last draw: `default`, or `/collection/NAME` for
    /// the ids of a collection.
    pub fn sequence(&mut self, name: &str) -> &mut Alea {
        self.sequences
            .entry(name.to_owned())
            .or_insert_with(|| Alea::new(&[&self.seed, name]))
    }

    /// The seed of a method that is called from this one.
    pub fn method_seed(&mut self, method: &str) -> String {
        self.sequence(&format!("/rpc/{method}")).hex(20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "abcdef0123456789abcd";

    #[test]
    fn ddp_153_ids_are_those_of_the_client() {
        let mut stream = RandomStream::new(SEED);
        let mut ids = |name: &str| [0; 3].map(|_| stream.sequence(name).id());
        assert_eq!(
            ids("default"),
            [
                "phtRHPzRKuyQiqu8M",
                "NMnvmSwHxAw8FdQCP",
                "sD2nnKdFc49HsBPkE"
            ]
        );
        assert_eq!(
            ids("/collection/things"),
            [
                "sCEWu9KNiKn3R7CGa",
                "dPn8wxiSNnGN8R4JC",
                "zghPR22p3gXyod3hL"
            ]
        );
    }

    #[test]
    fn ddp_153_other_draws_are_those_of_the_client() {
        let mut stream = RandomStream::new(SEED);
        let things = stream.sequence("/collection/things");
        assert_eq!(things.id(), "sCEWu9KNiKn3R7CGa");
        assert_eq!(things.hex(20), "96c1ffb76c4516043faa");
        assert_eq!(
            things.fraction().to_bits(),
            0.399_219_947_168_603_54_f64.to_bits()
        );
        assert_eq!(things.choice("abcdef"), Some('c'));
        assert_eq!(things.secret(10), "aaZbPF9YMc");
    }

    #[test]
    fn ddp_153_a_nested_call_gets_its_seed() {
        let mut stream = RandomStream::new(SEED);
        assert_eq!(stream.method_seed("ctx"), "810f5f16c4d1d66ad998");
        assert_ne!(stream.method_seed("ctx"), "810f5f16c4d1d66ad998");
        assert_eq!(stream.seed(), SEED);
    }
}
