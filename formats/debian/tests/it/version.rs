//! `dpkg --compare-versions` is the oracle of the order.

use std::process::Command;

use overboot_debian::version::{Version, compare};

/// Awkward pairs: tildes, ends, zeros, epochs, letters against signs.
const CORPUS: &[&str] = &[
    "0",
    "1",
    "1.0",
    "1.00",
    "01.0",
    "1.0-0",
    "1.0-1",
    "1.0~",
    "1.0~~",
    "1.0~~a",
    "1.0~a",
    "1.0a",
    "1.0+",
    "1.0+b1",
    "1.0.1",
    "1.0-1~",
    "1.0-1~bpo12+1",
    "1.0-1+deb13u1",
    "1.0-1.1",
    "1.0-10",
    "1.0-9",
    "0:1.0",
    "1:0",
    "1:1.0-1",
    "2:0~rc1",
    "1.2-3-4",
    "1.2-3",
    "1.2.3a",
    "1.2.3-a",
    "9.99",
    "10.1",
    "1.18446744073709551616",
    "1.18446744073709551617",
    "20250520",
    "2.41-12",
    "2.38",
    "1.0+dfsg-1",
    "1.0.dfsg-1",
    "1.0~dfsg-1",
    "1:1.0:1",
    "5:28.0~git20250101.abc-1~exp1",
];

#[test]
fn order_is_that_of_dpkg() {
    if !crate::has("dpkg") {
        return;
    }
    // One shell for all pairs, each once: a shell per pair would take a minute.
    let corpus = CORPUS.join(" ");
    let script = format!(
        "set -- {corpus}\n\
         while [ $# -gt 0 ]; do left=$1; for right; do\n\
         if dpkg --compare-versions $left lt $right; then echo Less\n\
         elif dpkg --compare-versions $left eq $right; then echo Equal\n\
         else echo Greater; fi; done; shift; done"
    );
    let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
    let verdicts = String::from_utf8(output.stdout).unwrap();
    let mut verdicts = verdicts.lines();
    for (index, left) in CORPUS.iter().enumerate() {
        for right in &CORPUS[index..] {
            let order = compare(left, right);
            assert_eq!(Some(format!("{order:?}").as_str()), verdicts.next(), "{left} ? {right}");
            assert_eq!(order.reverse(), compare(right, left), "{right} ? {left}");
        }
    }
}

#[test]
fn validity_is_that_of_dpkg() {
    if !crate::has("dpkg") {
        return;
    }
    let odd = ["", ":1", "a:1", "1:", "-1", "1-", "1 2", "1_2", "1/2", "1-a:b", "3000000000:1"];
    for text in CORPUS.iter().chain(&odd) {
        let output = Command::new("dpkg").arg("--validate-version").arg(text).output().unwrap();
        assert_eq!(text.parse::<Version>().is_ok(), output.status.success(), "{text:?}");
    }
}
