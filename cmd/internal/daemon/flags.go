// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// namespaceFile has the namespace of the pod.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Flags are the flags of every daemon.
type Flags struct {
	Kubeconfig  string
	Namespace   string
	Config      string
	ConfigFile  string
	Source      string
	Class       string
	Port        int
	BindAddress string
	LogLevel    string
	LogFormat   string
	Pprof       string

	ServiceStatus bool
	Protect       bool

	level *slog.LevelVar // of Logger; nil before
}

// Add adds the flags to a command. Their defaults come from the environment variables
// that MetalLB's manifests set.
func (f *Flags) Add(cmd *cobra.Command, env func(string) string) {
	fs := cmd.Flags()
	fs.StringVar(&f.Kubeconfig, "kubeconfig", "", "`path` of a kubeconfig file; empty: the service account of the pod")
	fs.StringVar(&f.Namespace, "namespace", env("METALLB_NAMESPACE"), "`namespace` of the configuration; empty: the pod's, or metallb-system")
	fs.StringVar(&f.Config, "config", "config", "`name` of the ConfigMap that holds the configuration in its key config")
	fs.StringVar(&f.ConfigFile, "config-file", "", "`path` of a file with the configuration, or of a directory with a file named config; it is read instead of the ConfigMap and the resources")
	fs.StringVar(&f.Source, "config-source", "auto", "configmap, resources (MetalLB's custom resources), or auto: the one that exists; if both exist, the one in force stays in force, and at the very first start it is the resources if a pool is among them")
	fs.StringVar(&f.Class, "lb-class", "", "handle Services of this loadBalancer`Class`; empty: those without one")
	fs.BoolVar(&f.ServiceStatus, "service-status", true, "keep a ServiceL2Status or ServiceBGPStatus for each Service and node that announces it, and a condition on the Service; set it alike for controller and agents")
	fs.BoolVar(&f.Protect, "protect-addresses", false, "reject an edit or a deletion of a pool that would take addresses from Services, unless the annotation heraldlb.io/release-addresses names the addresses; set it alike for controller and agents")
	fs.IntVar(&f.Port, "port", 7472, "port for /metrics, /status, /healthz and /readyz; 0: none")
	fs.StringVar(&f.BindAddress, "bind-address", env("METALLB_HOST"), "`address` for that port; empty: all")
	fs.StringVar(&f.LogLevel, "log-level", "info", "all, debug, info, warn, error or none")
	fs.StringVar(&f.LogFormat, "log-format", "text", "text or json")
	fs.StringVar(&f.Pprof, "pprof", "", "loopback `address` and port where Go's profiles are served, as in 127.0.0.1:6060; empty: nowhere")
}

// Complete fills in the namespace if neither a flag nor the environment names it.
func (f *Flags) Complete() {
	if f.Namespace == "" {
		b, _ := os.ReadFile(namespaceFile) // outside of a pod it does not exist
		f.Namespace = cmp.Or(strings.TrimSpace(string(b)), "metallb-system")
	}
}

// HTTPAddress returns the address to listen on; empty: none.
func (f *Flags) HTTPAddress() string {
	if f.Port == 0 {
		return ""
	}
	return net.JoinHostPort(f.BindAddress, strconv.Itoa(f.Port))
}

// Logger returns a logger that writes as the flags say. LogLevels changes its level later.
func (f *Flags) Logger(w io.Writer) (*slog.Logger, error) {
	level, ok := levels[f.LogLevel]
	if !ok {
		return nil, fmt.Errorf("--log-level %q: want all, debug, info, warn, error or none", f.LogLevel)
	}
	f.level = new(slog.LevelVar)
	f.level.Set(level)
	opts := &slog.HandlerOptions{Level: f.level}
	switch f.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", f.LogFormat)
}

// Accept adds hidden flags of MetalLB that change nothing here, so that manifests
// written for MetalLB work.
func Accept(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		cmd.Flags().String(name, "", "accepted for compatibility; changes nothing")
		flag := cmd.Flags().Lookup(name)
		flag.Hidden = true
		flag.NoOptDefVal = "true" // --flag without a value
	}
}
