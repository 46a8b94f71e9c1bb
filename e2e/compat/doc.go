// Package compat runs other people's clients against firn, unmodified and installed through their registries: their own
// test suites where the registry's artifact carries them, thorough programs of ours where it does not, and the README's
// snippets as they stand there.
//
// Beside each suite lies expected.txt: the tests that cannot pass here, by name and with the reason. Any other failure,
// and any listed one that passes, fails the suite. What a suite downloads or builds is kept in ~/.cache/firn-test.
package compat
