// Package external has a fuzz target that sees it from outside.
package external
