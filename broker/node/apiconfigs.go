package node

import (
	"strconv"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
)

// apiConfigs gives the API the broker's configs as the metadata has them at the moment. It implements api.Configs.
type apiConfigs struct{ n *Node }

// Layers implements api.Configs.
func (c apiConfigs) Layers() brokerconfig.Layers {
	static := map[string]string{"node.id": strconv.Itoa(int(c.n.cfg.BrokerID)), "broker.id": strconv.Itoa(int(c.n.cfg.BrokerID)),
		"log.dirs": c.n.cfg.absoluteLogDir()}
	for k, v := range c.n.cfg.Settings {
		static[k] = v
	}
	l := brokerconfig.Layers{Static: static}
	img := c.n.meta.Image()
	if b := img.BrokerConfigs[metadata.ClusterDefaults]; b != nil {
		l.Cluster = b.Configs
	}
	if b := img.BrokerConfigs[c.n.cfg.BrokerID]; b != nil {
		l.Broker = b.Configs
	}
	return l
}

// Values implements api.Configs.
func (c apiConfigs) Values() *brokerconfig.Values {
	sound, _ := c.Layers().Sound()
	v, err := sound.Resolve()
	if err != nil {
		v, _ = brokerconfig.Layers{}.Resolve()
	}
	return v
}
