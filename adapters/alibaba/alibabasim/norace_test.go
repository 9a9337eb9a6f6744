//go:build !race

package alibabasim_test

// scale divides the number of records; see race_test.go.
const scale = 1
