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
        var process = await StartNginxAsync(
            directory.FullName,
            $$"""
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
            """
        );
        return new ReverseProxy(process, directory, port);
    }

    /// <summary>Starts an nginx that keeps all it writes in its folder, and waits until it listens.</summary>
    internal static async Task<ChildProcess> StartNginxAsync(string directory, string site)
    {
        var configuration = Path.Combine(directory, "main.conf");
        await File.WriteAllTextAsync(
            configuration,
            $$"""
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
            {{site}}
            }
            """
        );

        // Logged once it listens.
        return await ChildProcess.StartAsync(
            "nginx",
            ["-p", directory, "-c", configuration, "-e", "stderr"],
            directory,
            "OS: "
        );
    }

    public async ValueTask DisposeAsync()
    {
        await _process.DisposeAsync();
        _directory.Delete(recursive: true);
    }
}
