//! Streamlined NTRU Prime 4591^761: the server's half, which is to seal a fresh secret with a client's key.
//!
//! In: a public key of 1,158 bytes. Out: 1,039 bytes for the client, and a secret of 32 bytes that it finds in them.
//!
//! No crate of good standing offers it; there is no secret key here, so nothing has to be hidden from a clock but what
//! lives for one exchange.
//!
//! Source: NTRU Prime, round 3 specification (2020); checked against OpenSSH's sntrup761.c and its client.

use rand::RngCore;
use ring::digest;

/// Coefficients of a polynomial.
const P: usize = 761;

/// The modulus.
const Q: i32 = 4591;

/// Coefficients of a short polynomial that are not 0.
const WEIGHT: usize = 286;

/// Bytes of a public key.
const KEY_BYTES: usize = 1158;

/// Bytes of a secret and of a confirmation.
const HASH_BYTES: usize = 32;

/// Seals a fresh secret. `None`: a key of a wrong length.
pub(super) fn encapsulate(key: &[u8], random: &mut impl RngCore) -> Option<(Vec<u8>, Vec<u8>)> {
    if key.len() != KEY_BYTES {
        return None;
    }
    let short = short(random);
    let input = hash(3, &[&pack(&short)]);
    let mut sealed = round(&multiply(&unpack(key), &short));
    sealed.extend(hash(2, &[&input, &hash(4, &[key])]));
    let secret = hash(1, &[&input, &sealed]);
    Some((sealed, secret))
}

/// A random polynomial with coefficients -1, 0 and 1, of which [`WEIGHT`] are not 0.
fn short(random: &mut impl RngCore) -> Vec<i8> {
    let mut drawn: Vec<u32> = (0..P)
        .map(|at| {
            let number = random.next_u32();
            // The low two bits are what is sorted along: 0 or 2 for a coefficient, 1 for none.
            if at < WEIGHT { number & !1 } else { number & !3 | 1 }
        })
        .collect();
    drawn.sort_unstable();
    drawn.iter().map(|number| (number & 3) as i8 - 1).collect()
}

/// A short polynomial in bytes: four coefficients each.
fn pack(short: &[i8]) -> Vec<u8> {
    let byte = |four: &[i8]| {
        four.iter()
            .rev()
            .fold(0, |byte, coefficient| byte << 2 | (coefficient + 1) as u8)
    };
    short.chunks(4).map(byte).collect()
}

/// The coefficients of a public key, from -2295 to 2295.
fn unpack(key: &[u8]) -> Vec<i32> {
    let numbers = decode(key, &[Q as u32; P]);
    numbers.into_iter().map(|number| number as i32 - Q / 2).collect()
}

/// The product of two polynomials modulo x^761 - x - 1.
fn multiply(key: &[i32], short: &[i8]) -> Vec<i32> {
    let mut product = vec![0_i32; 2 * P - 1];
    for (at, one) in short.iter().enumerate().filter(|(_, one)| **one != 0) {
        let places = product.iter_mut().skip(at);
        places
            .zip(key)
            .for_each(|(place, other)| *place += i32::from(*one) * other);
    }
    let high = product.split_off(P);
    for (at, coefficient) in high.into_iter().enumerate() {
        for place in product.iter_mut().skip(at).take(2) {
            *place += coefficient;
        }
    }
    let centred = |number: i32| (number + Q / 2).rem_euclid(Q) - Q / 2;
    product.into_iter().map(centred).collect()
}

/// Each coefficient to the nearest multiple of 3, encoded.
fn round(product: &[i32]) -> Vec<u8> {
    let third = |number: &i32| {
        let nearest = number - ((number + 1).rem_euclid(3) - 1);
        ((nearest + Q / 2) / 3) as u32
    };
    let numbers = product.iter().map(third).collect();
    let mut out = Vec::with_capacity(1007 + HASH_BYTES);
    encode(numbers, vec![Q.cast_unsigned().div_ceil(3); P], &mut out);
    out
}

/// Writes numbers below their bounds: pairs of them become one number below the product of both bounds, over and over,
/// and what is beyond 14 bits becomes bytes.
fn encode(mut numbers: Vec<u32>, mut bounds: Vec<u32>, out: &mut Vec<u8>) {
    while numbers.len() > 1 {
        let pairs = numbers.chunks(2).zip(bounds.chunks(2));
        let joined: Vec<_> = pairs.map(|(numbers, bounds)| join(numbers, bounds, out)).collect();
        (numbers, bounds) = joined.into_iter().unzip();
    }
    if let (Some(number), Some(bound)) = (numbers.first(), bounds.first()) {
        shed(*number, *bound, 1, out);
    }
}

fn join(numbers: &[u32], bounds: &[u32], out: &mut Vec<u8>) -> (u32, u32) {
    match (numbers, bounds) {
        ([low, high], [base, bound]) => shed(low + high * base, bound * base, 16383, out),
        _ => (
            numbers.first().copied().unwrap_or(0),
            bounds.first().copied().unwrap_or(1),
        ),
    }
}

/// Writes the low bytes of a number until its bound is at most `small`; gives what is left of both.
fn shed(mut number: u32, mut bound: u32, small: u32, out: &mut Vec<u8>) -> (u32, u32) {
    while bound > small {
        let [low, ..] = number.to_le_bytes();
        out.push(low);
        number >>= 8;
        bound = bound.div_ceil(256);
    }
    (number, bound)
}

/// Reads numbers below `bounds`, as [`encode`] writes them; bytes that it would not write give some numbers as well.
fn decode(bytes: &[u8], bounds: &[u32]) -> Vec<u32> {
    if bounds.len() < 2 {
        return bounds.iter().map(|bound| little(bytes) % bound).collect();
    }
    let mut rest = bytes;
    // The bytes that each pair shed, and what they count for.
    let pairs: Vec<_> = bounds.chunks(2).map(|pair| Pair::read(pair, &mut rest)).collect();
    let joined: Vec<_> = pairs.iter().map(|pair| pair.bound).collect();
    let upper = decode(rest, &joined);
    let split = bounds.chunks(2).zip(pairs).zip(upper);
    split.flat_map(|((pair, low), upper)| low.split(pair, upper)).collect()
}

/// What two joined numbers shed.
struct Pair {
    low: u32,
    weight: u32,
    /// The bound of what is left.
    bound: u32,
}

impl Pair {
    fn read(bounds: &[u32], rest: &mut &[u8]) -> Self {
        let mut pair = Self {
            low: 0,
            weight: 1,
            bound: bounds.iter().product(),
        };
        while bounds.len() > 1 && pair.bound > 16383 {
            let (first, after) = rest.split_first().unwrap_or((&0, &[]));
            pair.low += u32::from(*first) * pair.weight;
            pair.weight *= 256;
            pair.bound = pair.bound.div_ceil(256);
            *rest = after;
        }
        pair
    }

    fn split(&self, bounds: &[u32], upper: u32) -> Vec<u32> {
        let whole = self.low + upper * self.weight;
        match bounds {
            [base, bound] => vec![whole % base, whole / base % bound],
            _ => vec![whole],
        }
    }
}

fn little(bytes: &[u8]) -> u32 {
    let two = bytes.iter().take(2).rev();
    two.fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// SHA-512 with a prefix, cut to 32 bytes.
fn hash(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA512);
    context.update(&[prefix]);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    digest.as_ref().iter().copied().take(HASH_BYTES).collect()
}
