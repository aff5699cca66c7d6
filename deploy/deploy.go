// SPDX-License-Identifier: Apache-2.0

// Package deploy holds the roles of Herald's service accounts.
package deploy

import _ "embed"

// RBAC is the manifest with the roles and their bindings.
//
//go:embed rbac.yaml
var RBAC string
