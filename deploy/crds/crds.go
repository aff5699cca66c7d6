// SPDX-License-Identifier: Apache-2.0

// Package crds holds the definitions of MetalLB's custom resources.
package crds

import (
	"embed"
	"io/fs"
)

// The definitions are named for plurals; the kustomization beside them is not.
//
//go:embed *s.yaml
var files embed.FS

// Files returns the manifests, one for each kind, whose names are plurals.
func Files() fs.FS { return files }
