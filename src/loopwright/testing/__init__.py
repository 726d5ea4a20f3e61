"""Contract suites: what every member of a family must do, to be run over one's own members too."""
