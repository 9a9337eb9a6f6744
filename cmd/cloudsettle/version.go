package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the build to what git says of the source; without git
// there is none. The linker can set nothing but a variable.
var version string

// versionCmd prints the version.
type versionCmd struct{}

// Run prints the version that the program was built from.
func (c *versionCmd) Run(s *streams) error {
	v := version
	if info, ok := debug.ReadBuildInfo(); v == "" && ok {
		v = info.Main.Version
	}
	_, err := fmt.Fprintf(s.out, "cloudsettle %s %s %s/%s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
