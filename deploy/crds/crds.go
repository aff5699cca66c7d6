// SPDX-License-Identifier: Apache-2.0

// Package crds holds the definitions of MetalLB's custom resources.
package crds

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var files embed.FS

// Files returns the manifests, one for each kind.
func Files() fs.FS { return files }
