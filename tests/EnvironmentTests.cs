using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace Dmb.Tests;

/// <summary>The broker in an environment that others made: variables, signals, files and terminals.</summary>
public sealed class EnvironmentTests
{
    [Fact]
    public async Task The_service_links_of_Kubernetes_are_ignored_without_a_warning()
    {
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_HOST", "none"),
            ("REDIS_PORT", "tcp://10.96.0.11:6379"),
            ("REDIS_PORT_6379_TCP", "tcp://10.96.0.11:6379"),
            ("DMB_SERVICE_HOST", "10.96.0.12"),
            ("DMB_SERVICE_PORT", "80"),
            ("DMB_SERVICE_PORT_HTTP", "80"),
            ("DMB_PORT_80_TCP", "tcp://10.96.0.12:80"),
            ("DMB_PORT_80_TCP_ADDR", "10.96.0.12"),
            ("DMB_CONSOLE_SERVICE_HOST", "10.96.0.13"),
            ("DMB_CONSOLE_PORT", "tcp://10.96.0.13:80")
        );
        await node.LogAsync("Next: ");
        Assert.DoesNotContain(node.Log, line => line.Contains("warn", StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_address_of_a_service_in_DMB_PORT_leaves_the_port_as_it_is()
    {
        await using var broker = ChildProcess.Start(
            "dotnet",
            [Path.Combine(AppContext.BaseDirectory, "Dmb.dll")],
            AppContext.BaseDirectory,
            ("DMB_PORT", "tcp://10.96.0.12:80"),
            ("PORT", "0")
        );
        await broker.LineAsync("listens on");
    }

    [Theory]
    [InlineData("Dmb.dll")]
    [InlineData("Microsoft.Extensions.Hosting.dll")]
    [InlineData("Microsoft.AspNetCore.Server.Kestrel.Core.dll")]
    [InlineData("Microsoft.AspNetCore.Routing.dll")]
    [InlineData("System.Net.Sockets.dll")]
    [InlineData("System.Threading.Channels.dll")]
    public async Task A_signal_while_it_starts_ends_it_without_an_exception(string loaded)
    {
        await using var process = NodeProcess.Run(("REDIS_HOST", "none"));
        while (!process.HasMapped(loaded) && process.Lines.Length == 0)
        {
            await Task.Yield();
        }

        process.Terminate();
        var code = await process.EndAsync();
        Assert.True(code is 0 or 128 + 15, $"{code}: {string.Join('\n', process.Lines)}");
        Assert.DoesNotContain(process.Lines, line => line.Contains("xception", StringComparison.Ordinal));
    }

    [Fact]
    public async Task SIGHUP_reloads_the_key_files_and_does_not_stop_the_node()
    {
        var directory = Directory.CreateTempSubdirectory("dmb");
        try
        {
            var keys = Path.Combine(directory.FullName, "keys");
            var secret = Path.Combine(directory.FullName, "secret");
            await File.WriteAllTextAsync(keys, "ops:sixteen-letters-or-more:admin");
            await File.WriteAllTextAsync(secret, Token.Secret + "\n");
            await using var node = await NodeProcess.StartAsync(
                ("REDIS_HOST", "none"),
                ("DMB_KEYS_FILE", keys),
                ("DMB_JWT_SECRET_FILE", secret)
            );
            var token = Token.Of("ann", TimeProvider.System.GetUtcNow().AddHours(1));
            Assert.Equal(HttpStatusCode.Forbidden, await StatusAsync(node, token));

            await File.WriteAllTextAsync(secret, new string('x', 32));
            node.HangUp();
            await node.LogAsync($"Reloaded the keys of {secret}");
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(node, token));
            Assert.Equal(HttpStatusCode.OK, await StatusAsync(node, "sixteen-letters-or-more"));
            Assert.Equal(0, await node.TerminateAsync());
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_hangup_does_not_end_a_node_that_has_no_key_files()
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));
        node.HangUp();
        await node.NotifyAsync("call", "1");
        Assert.Equal(0, await node.TerminateAsync());
    }

    [Theory]
    [InlineData("DMB_JWT_SECRET_FILE", "too short")]
    [InlineData("DMB_JWT_SECRET_FILE", null)]
    public async Task A_file_without_a_secret_is_one_line_that_does_not_repeat_it(string name, string? text)
    {
        var file = Path.GetTempFileName();
        try
        {
            if (text is null)
            {
                File.Delete(file);
            }
            else
            {
                await File.WriteAllTextAsync(file, text);
            }

            await using var process = NodeProcess.Run((name, file));
            Assert.Equal(2, await process.EndAsync());
            var line = Assert.Single(process.Lines);
            Assert.StartsWith(
                $"{name}: '{file}' is not accepted; it takes "
                    + (text is null ? "a file that this user can read" : "32 bytes or more"),
                line,
                StringComparison.Ordinal
            );
            Assert.DoesNotContain("too short", line, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Log_lines_have_their_date_and_zone()
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));
        Assert.Matches(
            @"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d info: ",
            await node.LogAsync("listens on")
        );
    }

    [Fact]
    public async Task A_collector_gets_a_JSON_object_a_line()
    {
        await using var process = NodeProcess.Run(("REDIS_HOST", "none"), ("DMB_LOG", "json"));
        var line = JsonElement.Parse(await process.LineAsync("listens on"));
        Assert.Equal("Information", line.GetProperty("LogLevel").GetString());
        Assert.True(DateTimeOffset.TryParse(line.GetProperty("Timestamp").GetString(), out _));
        Assert.Contains("listens on", line.GetProperty("Message").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--version", @"^dmb \d+\.\d+\.\d+")]
    [InlineData("-h", "^dmb: the Duplex Message Broker$")]
    public async Task Help_and_version_are_printed(string argument, string answer)
    {
        await using var process = ChildProcess.Start(
            "dotnet",
            [Path.Combine(AppContext.BaseDirectory, "Dmb.dll"), argument],
            AppContext.BaseDirectory
        );
        Assert.Equal(0, await process.EndAsync());
        Assert.Matches(answer, process.Lines[0]);
    }

    [Fact]
    public async Task A_port_in_use_is_reported_without_a_stack_trace()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        await using var process = NodeProcess.Run(
            ("DMB_PORT", $"{((IPEndPoint)taken.LocalEndpoint).Port}"),
            ("REDIS_HOST", "none")
        );
        Assert.Equal(1, await process.EndAsync());
        Assert.StartsWith("DMB_PORT: ", Assert.Single(process.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_origin_with_letters_beyond_ASCII_is_allowed_as_browsers_send_it()
    {
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_HOST", "none"),
            ("DMB_ALLOWED_ORIGINS", "https://b\u00fccher.example:8443,https://plain.example")
        );
        foreach (
            var (origin, status) in ((string, HttpStatusCode)[])
                [
                    ("https://xn--bcher-kva.example:8443", HttpStatusCode.OK),
                    ("https://plain.example", HttpStatusCode.OK),
                    ("https://xn--bcher-kva.example", HttpStatusCode.Forbidden),
                ]
        )
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/rooms/support");
            request.Headers.Add("Origin", origin);
            using var answer = await node.Http.SendAsync(request);
            Assert.Equal(status, answer.StatusCode);
        }
    }

    private static async Task<HttpStatusCode> StatusAsync(NodeProcess node, string credentials)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/register");
        request.Headers.Authorization = new("Bearer", credentials);
        using var answer = await node.Http.SendAsync(request);
        return answer.StatusCode;
    }
}
