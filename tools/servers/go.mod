module example.org/souk/tools/servers

go 1.26.0
