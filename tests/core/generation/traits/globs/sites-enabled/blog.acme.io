server {
    listen 8443 ssl;
    server_name blog.acme.io;
    include conf.d/parts/*.part;
}
