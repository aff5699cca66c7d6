// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/kube"
)

// heraldNamespace is the namespace of Herald unless a flag names another one.
const heraldNamespace = "metallb-system"

// requestTimeout is the default of --request-timeout. kubectl has none: it waits for ever for
// an API server that does not answer.
const requestTimeout = "20s"

// A connection has kubectl's flags about which API server to ask, and as whom, and the flag
// for Herald's namespace. All commands share one.
type connection struct {
	kubectl   *genericclioptions.ConfigFlags
	namespace string
	flags     *pflag.FlagSet // the flags of both
}

// addConnection adds the flags to a command and those below it.
func addConnection(root *cobra.Command) *connection {
	c := &connection{kubectl: genericclioptions.NewConfigFlags(false)}
	c.kubectl.Namespace = nil // -n is Herald's
	c.kubectl.CacheDir = nil  // nothing is kept on disk
	c.kubectl.Timeout = new(requestTimeout)
	c.flags = root.PersistentFlags()
	c.kubectl.AddFlags(c.flags)
	c.flags.StringVarP(&c.namespace, "namespace", "n", heraldNamespace, "`namespace` that Herald runs in, with its configuration")
	return c
}

// config returns how to reach that API server.
func (c *connection) config() (*rest.Config, error) {
	loader := c.kubectl.ToRawKubeConfigLoader()
	access := loader.ConfigAccess()
	if rules, ok := access.(*clientcmd.ClientConfigLoadingRules); ok {
		rules.WarnIfAllMissing = false // the error says it
	}
	// The library takes localhost:8080 for the API server if nothing names one.
	raw, err := loader.RawConfig()
	if err == nil && len(raw.Clusters) == 0 && *c.kubectl.APIServer == "" && os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return nil, fmt.Errorf("no kubeconfig at %s: name one with --kubeconfig or KUBECONFIG", strings.Join(access.GetLoadingPrecedence(), ", "))
	}
	return kube.NewUserConfig(loader, "heraldctl/"+daemon.Version())
}

// client returns a client of that API server.
func (c *connection) client() (*kube.Client, error) {
	api, err := c.config()
	if err != nil {
		return nil, err
	}
	return kube.NewClient(api)
}

// A clusterFlag is --cluster of a command that reads files or the cluster. Kubectl's flag of
// this name is in its value. It is a pflag.Value.
type clusterFlag struct {
	read *bool   // whether the cluster is read
	name *string // of the cluster in the kubeconfig; empty: that of the context
}

// addClusterFlag adds the flag in place of kubectl's.
func (c *connection) addClusterFlag(cmd *cobra.Command, read *bool, usage string) {
	cmd.Flags().Var(clusterFlag{read, c.kubectl.ClusterName}, clientcmd.FlagClusterName, usage+"; --cluster=NAME: that of the kubeconfig's cluster NAME")
	cmd.Flags().Lookup(clientcmd.FlagClusterName).NoOptDefVal = "true"
}

// String returns f.
func (f clusterFlag) String() string {
	if f.name != nil && *f.name != "" {
		return *f.name
	}
	return strconv.FormatBool(f.read != nil && *f.read)
}

// Type names the flag's value. Kubectl's completion and help take it for a switch.
func (f clusterFlag) Type() string { return "bool" }

// Set takes a boolean, or the name of a cluster.
func (f clusterFlag) Set(s string) error {
	if read, err := strconv.ParseBool(s); err == nil {
		*f.read, *f.name = read, ""
		return nil
	}
	*f.read, *f.name = true, s
	return nil
}
