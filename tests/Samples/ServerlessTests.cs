using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Dmb.Tests.Backends;

namespace Dmb.Tests.Samples;

/// <summary>samples/serverless: the desk for programs that hold no connection, and the one function of README.md.</summary>
public sealed class ServerlessTests : IAsyncLifetime
{
    private static readonly string Folder = Path.Combine(Repository.Root, "samples/serverless");

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dmb-serverless");
    private readonly string _secret = "whsec_" + Convert.ToBase64String(RandomNumberGenerator.GetBytes(32));
    private readonly int _port = RedisServer.FreePort();
    private NodeProcess _node = null!;

    public async ValueTask InitializeAsync() => _node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));

    [Theory]
    [InlineData("csharp")]
    [InlineData("python")]
    [InlineData("cgi")]
    public async Task A_desk_without_a_connection_greets_answers_and_tells_all(string language)
    {
        await using var function = language switch
        {
            "csharp" => await StartAsync(
                "dotnet",
                [Path.Combine(AppContext.BaseDirectory, "Function.dll"), "--urls", $"http://127.0.0.1:{_port}"]
            ),
            "python" => await StartAsync(Path.Combine(Folder, "function.py"), []),
            _ => await StartApacheAsync(),
        };
        var bkid = await RegisterAsync();
        await using var ann = await TestUser.JoinAsync(_node.Url, bkid, "ann");
        await ann.GetsAsync("dmb:direct", "\"Hello ann.\"");
        await using var bob = await TestUser.JoinAsync(_node.Url, bkid, "bob");
        await bob.GetsAsync("dmb:direct", "\"Hello bob.\"");
        await ann.SayAsync("\"Is it \\u00fc?\"");
        var (@event, data) = await ann.ReadAsync();
        Assert.Equal("dmb:direct", @event);
        Assert.Matches(@"^At \S+ you said: Is it ü\?$", JsonSerializer.Deserialize<string>(data));
        await bob.SayAsync("\"all: hello\"");
        await ann.GetsAsync("dmb:broadcast", "\"bob: hello\"");
        await bob.GetsAsync("dmb:broadcast", "\"bob: hello\"");

        using var forged = new HttpRequestMessage(HttpMethod.Post, $"http://127.0.0.1:{_port}/");
        forged.Content = new StringContent("""{"type":"connect","user":"eve"}""");
        forged.Headers.Add("webhook-id", "1");
        forged.Headers.Add("webhook-timestamp", $"{TimeProvider.System.GetUtcNow().ToUnixTimeSeconds()}");
        forged.Headers.Add("webhook-signature", "v1,AAAA");
        using var refused = await _node.Http.SendAsync(forged);
        Assert.Equal(HttpStatusCode.Unauthorized, refused.StatusCode);
    }

    [Fact]
    public async Task The_function_of_the_readme_works_as_typed()
    {
        var page = await DocumentPage.ReadAsync("README.md", "## A backend in one function");
        var commands = page.Commands(_node.Url.Port)
            .Select(command => command.Replace("8001", $"{_port}", StringComparison.Ordinal))
            .ToArray();
        await using var terminals = new Terminals();
        terminals.Type(commands[0]);
        await ListensAsync();
        await terminals.Type(commands[1]).LineAsync("data: \"Hello alice\"");
    }

    public async ValueTask DisposeAsync()
    {
        await _node.DisposeAsync();
        _directory.Delete(recursive: true);
    }

    private async Task<string> RegisterAsync()
    {
        var (status, body) = await HttpBackend.PostAsync(
            new Uri(_node.Url, "/register/backend"),
            $$$"""{"name":"desk","webhook":{"url":"http://127.0.0.1:{{{_port}}}/","secret":"{{{_secret}}}"}}"""
        );
        Assert.True(status == HttpStatusCode.Created, body);
        return JsonElement.Parse(body).GetProperty("bkid").GetString()!;
    }

    private async Task<ChildProcess> StartAsync(string program, string[] arguments)
    {
        var process = ChildProcess.Start(
            program,
            arguments,
            _directory.FullName,
            ("WEBHOOK_SECRET", _secret),
            ("PORT", $"{_port}")
        );
        await ListensAsync();
        return process;
    }

    /// <summary>Completes when something answers at the port.</summary>
    private async Task ListensAsync()
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (true)
        {
            try
            {
                using var client = new System.Net.Sockets.TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, _port, patience.Token);
                return;
            }
            catch (System.Net.Sockets.SocketException)
            {
                await Task.Yield();
            }
        }
    }

    private async Task<ChildProcess> StartApacheAsync()
    {
        // The server runs it as a user that may not read where the repository is.
        var script = Path.Combine(_directory.FullName, "function.cgi");
        File.Copy(Path.Combine(Folder, "function.cgi"), script);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(_directory.FullName, (UnixFileMode)0b111_101_101);
        }

        var configuration = Path.Combine(_directory.FullName, "main.conf");
        await File.WriteAllTextAsync(
            configuration,
            $"""
            ServerRoot {_directory.FullName}
            ServerName localhost
            PidFile apache.pid
            DefaultRuntimeDir {_directory.FullName}
            ScriptSock {_directory.FullName}/cgi.sock
            Mutex file:{_directory.FullName}
            ErrorLog /proc/self/fd/2
            LogLevel notice
            User www-data
            Group www-data
            LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
            LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
            LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
            LoadModule env_module /usr/lib/apache2/modules/mod_env.so
            LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
            Listen 127.0.0.1:{_port}
            PassEnv WEBHOOK_SECRET
            ScriptAlias / {script}/
            """
        );
        return await StartAsync("/usr/sbin/apache2", ["-f", configuration, "-D", "FOREGROUND"]);
    }
}
