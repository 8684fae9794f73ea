namespace Dmb.Tests.Support;

/// <summary>An nginx in front of a node, as it is set up for WebSockets, in a folder of its own.</summary>
public sealed class ReverseProxy : IAsyncDisposable
{
    private readonly ChildProcess _process;
    private readonly DirectoryInfo _directory;

    private ReverseProxy(ChildProcess process, DirectoryInfo directory, int port)
    {
        (_process, _directory, Port) = (process, directory, port);
    }

    public int Port { get; }

    public static async Task<ReverseProxy> StartAsync(int nodePort)
    {
        var directory = Directory.CreateTempSubdirectory("dmb-nginx-");
        var port = RedisServer.FreePort();
        var configuration = Path.Combine(directory.FullName, "nginx.conf");
        await File.WriteAllTextAsync(configuration, $$"""
            daemon off;
            master_process off;
            pid nginx.pid;
            error_log stderr notice;
            events {}
            http {
              access_log off;
              client_body_temp_path body;
              proxy_temp_path proxy;
              fastcgi_temp_path fastcgi;
              uwsgi_temp_path uwsgi;
              scgi_temp_path scgi;
              server {
                listen 127.0.0.1:{{port}};
                location / {
                  proxy_pass http://127.0.0.1:{{nodePort}};
                  proxy_http_version 1.1;
                  proxy_set_header Upgrade $http_upgrade;
                  proxy_set_header Connection "upgrade";
                  proxy_set_header Host $host:$server_port;
                }
              }
            }
            """);
        var process = ChildProcess.Start("nginx", ["-p", directory.FullName, "-c", configuration, "-e", "stderr"], directory.FullName);

        // Logged once it listens.
        await process.LineAsync("OS: ");
        return new ReverseProxy(process, directory, port);
    }

    public async ValueTask DisposeAsync()
    {
        await _process.DisposeAsync();
        _directory.Delete(recursive: true);
    }
}
