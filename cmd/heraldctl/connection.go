// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/kube"
)

// connectionFlags are kubectl's flags about which API server to ask, and as whom.
type connectionFlags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

// add adds the flags. The namespace is left out: commands have a flag for Herald's. So is
// basic authentication, which no API server has any more.
func (c *connectionFlags) add(cmd *cobra.Command) {
	kubeconfigFlag(cmd, &c.kubeconfig)
	names := clientcmd.RecommendedConfigOverrideFlags("")
	for _, unwanted := range []*clientcmd.FlagInfo{&names.ContextOverrideFlags.Namespace, &names.AuthOverrideFlags.Username, &names.AuthOverrideFlags.Password} {
		unwanted.LongName = ""
	}
	clientcmd.BindOverrideFlags(&c.overrides, cmd.Flags(), names)
}

// config returns how to reach that API server.
func (c *connectionFlags) config() (*rest.Config, error) {
	return kube.NewUserConfigWith(c.kubeconfig, &c.overrides, "heraldctl/"+daemon.Version())
}

// client returns a client of that API server.
func (c *connectionFlags) client() (*kube.Client, error) {
	api, err := c.config()
	if err != nil {
		return nil, err
	}
	return kube.NewClient(api)
}
