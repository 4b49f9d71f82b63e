module example.com/alacarte

go 1.26.0

require example.org/souk v0.0.0

replace example.org/souk => ../..
