// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// otherFRR is the folder that hack/frr-root makes: a file system with the FRR of
// Debian 13.
const otherFRR = "bin/frr/trixie"

// A Version is an FRR that a machine of a lab can run.
type Version struct {
	Name string // as FRR prints it: "8.4.4"
	Root string // the file system that it is installed in; "/" is this machine's
}

// Versions returns this machine's FRR and that of Debian 13. Without the second a
// test goes on with the first alone, except under LAB=require, where it fails.
func Versions(t testing.TB) []Version {
	t.Helper()
	Need(t, "bgpd")
	all, err := FindVersions()
	if err == nil {
		return all
	}
	if len(all) == 0 || os.Getenv("LAB") == "require" {
		t.Fatalf("lab: %v", err)
	}
	t.Logf("lab: only FRR %s: %v", all[0].Name, err)
	return all
}

// FindVersions returns the versions that are there, and an error if one is not.
func FindVersions() ([]Version, error) {
	system, err := versionIn("/")
	if err != nil {
		return nil, err
	}
	root, err := findAbove(filepath.Join(otherFRR, ".complete"))
	if err != nil {
		return []Version{system}, fmt.Errorf("%w: make it with hack/frr-root", err)
	}
	other, err := versionIn(filepath.Dir(root))
	if err != nil {
		return []Version{system}, err
	}
	return []Version{system, other}, nil
}

// versionIn asks the bgpd of a file system for its version.
func versionIn(root string) (Version, error) {
	line := inRoot(root, filepath.Join(frrDaemons, "bgpd"), "--version")
	out, err := exec.Command(line[0], line[1:]...).Output()
	if err != nil {
		return Version{}, fmt.Errorf("version of FRR in %s: %w", root, err)
	}
	name, ok := strings.CutPrefix(string(out), "bgpd version ")
	name, _, _ = strings.Cut(name, "\n")
	if !ok {
		return Version{}, fmt.Errorf("version of FRR in %s: %q", root, out)
	}
	return Version{Name: strings.TrimSpace(name), Root: root}, nil
}

// Mixed returns a topology of three nodes on which versions of FRR alternate, and r1
// with the given one.
func Mixed(versions []Version, router Version) Options {
	opts := Options{FRRRoot: router.Root}
	for i := range 3 {
		opts.NodeFRR = append(opts.NodeFRR, NodeFRR{Root: versions[i%len(versions)].Root})
	}
	return opts
}

// Runs reports whether this is the version that the machine runs.
func (f *FRR) Runs(v Version) bool { return f.root == v.Root }
