// Package arch holds the tests of the project's structure: what may import
// what, what is pure, how long files and functions are, and that packages say
// what they are. Its tables are the ones of ARCHITECTURE.md; to change the
// architecture is to change them.
package arch
