using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;

namespace Dmb.Tests;

/// <summary>The broker as people start it: a process, its environment, its command line and what it prints.</summary>
public sealed class SettingsTests
{
    [Theory]
    [InlineData("DMB_PORT", "abc", "0 to 65535")]
    [InlineData("DMB_PORT", "65536", "0 to 65535")]
    [InlineData("DMB_PORT", "-1", "0 to 65535")]
    [InlineData("DMB_PORT", "80.5", "0 to 65535")]
    [InlineData("PORT", "http", "0 to 65535")]
    [InlineData("DMB_HOST", "example", "IP address")]
    [InlineData("DMB_HOST", "0.0.0.0", "DMB_AUTH=none")]
    [InlineData("DMB_HOST", "*", "DMB_AUTH=none")]
    [InlineData("DMB_AUTH", "all", "none")]
    [InlineData("DMB_MAX_MESSAGE_BYTES", "63", "64 to ")]
    [InlineData("DMB_MAX_MESSAGE_BYTES", "256KiB", "64 to ")]
    [InlineData("DMB_MAX_MESSAGE_BYTES", "99999999999", "64 to ")]
    [InlineData("DMB_MAX_PENDING_BYTES", "2048", "DMB_MAX_MESSAGE_BYTES")]
    [InlineData("DMB_PING_INTERVAL", "soon", "1 to 3600 seconds")]
    [InlineData("DMB_PING_INTERVAL", "0", "1 to 3600 seconds")]
    [InlineData("DMB_SILENT_TIMEOUT", "25", "DMB_PING_INTERVAL")]
    [InlineData("DMB_WS_COMPRESSION", "yes", "true")]
    [InlineData("DMB_ALLOWED_ORIGINS", "desk.example.com", "https://")]
    [InlineData("DMB_ALLOWED_ORIGINS", "https://desk.example.com/", "https://")]
    [InlineData("DMB_PUBLIC_BUSES", "a b", "1 to 200 bytes")]
    [InlineData("DMB_EVENTS", "call=nowhere", "event=bus")]
    [InlineData("DMB_EVENTS", "a b=calls", "event=bus")]
    [InlineData("DMB_EVENTS", "report_csr", "event= for no default bus")]
    [InlineData("REDIS_PORT", "0", "1 to 65535")]
    [InlineData("REDIS_HOST", "localhost:6380", "REDIS_PORT")]
    [InlineData("REDIS_HOST", "redis://localhost", "REDIS_URL")]
    [InlineData("REDIS_URL", "http://localhost", "redis://")]
    [InlineData("DMB_ALLOWED_HOSTS", "https://dmb.example", "without a scheme or port")]
    [InlineData("DMB_OUTAGE", "panic", "`spool` or `local` or `reject`")]
    [InlineData("DMB_ROLE", "socket", "`all` or `publish`")]
    [InlineData("DMB_PREFIX", "a*", "1 to 64 characters")]
    [InlineData("DMB_TRUSTED_PROXIES", "proxy.example", "10.0.0.0/8")]
    [InlineData("DMB_DRAIN_DELAY", "-1", "0 to 300 seconds")]
    [InlineData("DMB_DRAIN_WINDOW", "3601", "0 to 3600 seconds")]
    public async Task A_bad_value_is_one_line_on_stderr_and_exit_code_2(string name, string value, string accepted)
    {
        await using var broker = Start([], (name, value));
        var error = await OnlyErrorAsync(broker, exitCode: 2);
        Assert.StartsWith($"{name}: '{value}' is not accepted; it takes ", error, StringComparison.Ordinal);
        Assert.Contains(accepted, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_node_that_only_publishes_does_not_start_without_Redis()
    {
        await using var broker = Start([], ("DMB_ROLE", "publish"), ("REDIS_HOST", "none"));
        Assert.Equal(
            "DMB_ROLE: publish needs Redis, which takes messages to the nodes that have sessions: set REDIS_HOST or "
                + "REDIS_URL.",
            await OnlyErrorAsync(broker, exitCode: 2)
        );
    }

    [Theory]
    [InlineData("redis://user:secret@localhost:6379/x")]
    [InlineData("redis://:secret@secret@h/x")]
    [InlineData("redis://:secret")]
    [InlineData("redis://h?sentinel=m&sentinel_password=secret&x=1")]
    [InlineData("redis://:secret@h?sentinel_password=p@secret")]
    public async Task An_address_of_Redis_is_refused_without_repeating_its_password(string url)
    {
        await using var broker = Start([], ("REDIS_URL", url));
        var error = await OnlyErrorAsync(broker, exitCode: 2);
        Assert.StartsWith("REDIS_URL: '", error, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("DMB_KEYS", "ops:never-shown:admin", "the secret of entry 1 has fewer than 16 characters")]
    [InlineData("DMB_KEYS", "ops::admin", "the secret of entry 1 has fewer than 16 characters")]
    [InlineData("DMB_KEYS", "ops:never-shown-to-anyone", "the secret of entry 1")]
    [InlineData("DMB_KEYS", "never-shown-to-anyone", "entry 1 has no name")]
    [InlineData("DMB_KEYS", ":never-shown-to-anyone:admin", "entry 1 has no name")]
    [InlineData("DMB_KEYS", "never shown to anyone:ops:admin", "entry 1 has no name")]
    [InlineData("DMB_KEYS", "never-shown-to-anyone:ops:admin", "the secret of entry 1")]
    [InlineData("DMB_KEYS", "ops:never-shown-to-anyone:publish,write", "entry 1 has a scope")]
    [InlineData("DMB_KEYS", "ops:never-shown-to-anyone:", "entry 1 has a scope")]
    [InlineData("DMB_KEYS", "ops:never-shown-to-anyone:Admin", "entry 1 has a scope")]
    [InlineData(
        "DMB_KEYS",
        "ops:never-shown-to-anyone:read;ops:never-shown-to-many:publish",
        "entries 1 and 2 have the same name"
    )]
    [InlineData("DMB_KEYS", "a:never-shown-to-anyone:read;;b:never-shown:read", "the secret of entry 2")]
    [InlineData("DMB_JWT_SECRET", "never-shown-31-bytes-of-a-secret", "32 bytes or more")]
    public async Task A_bad_secret_is_one_line_that_does_not_repeat_it(string name, string value, string why)
    {
        await using var broker = Start(
            [],
            (name, value.Replace("31-bytes-of-a-secret", "31-bytes-of-a-secre", StringComparison.Ordinal))
        );
        var error = await OnlyErrorAsync(broker, exitCode: 2);
        Assert.StartsWith($"{name}: '\u2026' is not accepted; it takes ", error, StringComparison.Ordinal);
        Assert.Contains(why, error, StringComparison.Ordinal);
        Assert.DoesNotMatch("never.shown", error);
    }

    [Theory]
    [InlineData("DMB_KEYS_FILE", "ops:never-shown-to-anyone:write", "entry 1 has a scope")]
    [InlineData("DMB_KEYS_FILE", "# a\na:never-shown-to-anyone:read\nb:never-shown:read", "the secret of entry 2")]
    [InlineData("DMB_KEYS_FILE", null, "Could not find")]
    [InlineData("DMB_JWT_KEYS", "never-shown-to-anyone", "there is no key in it")]
    [InlineData("DMB_JWT_KEYS", "{\"never-shown\":", "a key in it can't be read")]
    [InlineData("DMB_JWT_KEYS", null, "Could not find")]
    public async Task An_invalid_credential_file_is_reported_in_one_line_without_its_text(
        string name,
        string? text,
        string why
    )
    {
        var directory = Directory.CreateTempSubdirectory("dmb");
        try
        {
            var file = Path.Combine(directory.FullName, "keys");
            if (text is not null)
            {
                await File.WriteAllTextAsync(file, text);
            }

            await using var broker = Start([], (name, file));
            var error = await OnlyErrorAsync(broker, exitCode: 2);
            Assert.StartsWith($"{name}: '{file}' is not accepted; it takes ", error, StringComparison.Ordinal);
            Assert.Contains(why, error, StringComparison.Ordinal);
            Assert.DoesNotContain("never-shown", error, StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("DMB_KEYS", "ops:never-shown-to-anyone:admin")]
    [InlineData("DMB_JWT_SECRET", "never-shown-to-anyone-who-starts-it")]
    public async Task Auth_none_together_with_credentials_is_refused(string name, string value)
    {
        await using var broker = Start([], ("DMB_AUTH", "none"), (name, value));
        Assert.StartsWith(
            "DMB_AUTH: 'none' is not accepted; it takes nothing where there are keys or tokens",
            await OnlyErrorAsync(broker, exitCode: 2),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("", 0, 0, 0)]
    [InlineData("--Dmb:Host=localhost", 0, 0, 0)]
    [InlineData("--Dmb:Host=::1 --Dmb:PublishRate=7", 7, 0, 0)]
    [InlineData("--Dmb:Host=0.0.0.0 --Dmb:Keys=ops:sixteen-letters-or-more:admin", 2_000, 1_000, 20)]
    [InlineData("--Dmb:Host=* --Dmb:Auth=none", 2_000, 1_000, 20)]
    [InlineData("--Dmb:Host=:: --Dmb:Auth=none --Dmb:PublishRate=0 --Dmb:JoinRate=7", 0, 7, 20)]
    [InlineData("--Dmb:Host=192.0.2.1 --Dmb:Auth=none --Dmb:HandshakeRate=0", 2_000, 1_000, 0)]
    public void A_node_that_others_can_reach_has_limits_that_one_on_loopback_has_not(
        string arguments,
        int publishes,
        int joins,
        int handshakes
    )
    {
        using var configuration = new ConfigurationManager();
        var options = Settings.Read(configuration, arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(
            (publishes, joins, handshakes),
            (options.Access.PublishRate, options.Access.JoinRate, options.Access.HandshakeRate)
        );
        Assert.Equal(0, options.Access.MaxSessionsPerAddress);
    }

    [Fact]
    public async Task The_default_rate_limits_apply_on_a_node_that_listens_on_more_than_loopback()
    {
        await using var node = await NodeProcess.StartAsync(
            ("DMB_HOST", "0.0.0.0"),
            ("DMB_AUTH", "none"),
            ("REDIS_HOST", "none"),
            ("DMB_MAX_BATCH_ITEMS", "10000")
        );
        using var batch = new StringContent($"[{string.Join(',', Enumerable.Repeat("{\"event\":\"call\"}", 10_000))}]");
        using var answer = await node.Http.PostAsync(
            new UriBuilder(node.Url) { Host = "127.0.0.1", Path = "/_notify" }.Uri,
            batch
        );
        Assert.Contains(
            "\"code\":\"rate_limited\"",
            await answer.Content.ReadAsStringAsync(),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task A_bad_value_on_the_command_line_is_reported_the_same_way()
    {
        await using var broker = Start(["--Dmb:Port=abc"]);
        Assert.StartsWith(
            "DMB_PORT: 'abc' is not accepted; it takes 0 to 65535",
            await OnlyErrorAsync(broker, exitCode: 2),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("--Dmb:Prot=1", "--Dmb:Prot: there is no such argument")]
    [InlineData("--port 9000", "--port: there is no such argument")]
    [InlineData("--urls=http://localhost:9000", "--urls: there is no such argument")]
    [InlineData("-p 9000", "-p: there is no such argument")]
    [InlineData("9000", "9000: there is no such argument")]
    [InlineData("pubb call", "pubb: there is no such argument or command")]
    [InlineData("DMB_PORT=9000", "DMB_PORT: there is no such argument")]
    [InlineData("--Dmb:Port", "--Dmb:Port: a value is missing")]
    public async Task An_unknown_argument_is_one_line_on_stderr_and_exit_code_2(string arguments, string told)
    {
        await using var broker = Start(arguments.Split(' '));
        Assert.StartsWith(told, await OnlyErrorAsync(broker, exitCode: 2), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Invalid_JSON_in_appsettings_is_one_line_on_stderr_and_exit_code_2()
    {
        var directory = Directory.CreateTempSubdirectory("dmb");
        try
        {
            var file = Path.Combine(directory.FullName, "appsettings.json");
            await File.WriteAllTextAsync(file, "{\"Dmb\":{\"Port\":8082,\n}");
            await using var broker = StartIn(directory.FullName, []);
            var error = await OnlyErrorAsync(broker, exitCode: 2);
            Assert.Contains(file, error, StringComparison.Ordinal);
            Assert.Contains("LineNumber: 1", error, StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task The_health_command_reports_whether_the_node_of_its_settings_is_alive()
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));
        (string, string)[] settings = [("DMB_PORT", $"{node.Url.Port}"), ("DMB_HOST", "0.0.0.0"), ("DMB_AUTH", "none")];
        await using var alive = Start(["--health"], settings);
        Assert.Equal(0, await alive.EndAsync());
        Assert.Empty(alive.Lines);

        Assert.Equal(0, await node.TerminateAsync());
        await using var gone = Start(["--health"], settings);
        Assert.StartsWith($"{node.Url}healthz: ", await OnlyErrorAsync(gone, exitCode: 1), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_port_in_use_is_one_line_on_stderr()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;

        await using var broker = Start([], ("DMB_PORT", $"{port}"));
        Assert.Equal(1, await broker.EndAsync());
        Assert.Matches($"^DMB_PORT: .*{port}", Assert.Single(broker.Errors));
    }

    [Fact]
    public async Task Help_prints_each_setting_with_its_range_and_default()
    {
        await using var broker = Start(["--help"]);
        Assert.Equal(0, await broker.EndAsync());
        Assert.Empty(broker.Errors);
        var output = string.Join('\n', broker.Lines) + "\n";
        Assert.Matches(@"DMB_PORT +[^\n]+\n +0 to 65535; default 8082\n", output);
        Assert.Matches(@"DMB_MAX_MESSAGE_BYTES +[^\n]+\n +64 to 16777216; default 262144\n", output);
        Assert.Matches(@"DMB_PING_INTERVAL +[^\n]+\n +1 to 3600 seconds; default 25\n", output);
        var settings = typeof(NodeOptions)
            .GetProperties()
            .Sum(part => part.PropertyType.GetProperties().Count(property => property.CanWrite));
        Assert.Equal(settings, Regex.Count(output, "(?m)^(DMB|REDIS)_"));
        Assert.Contains("pub, sub, tail, rooms, sessions, kick, dead, token, key, check and config are", output);
    }

    [Fact]
    public async Task The_first_log_lines_have_the_address_the_backplane_and_the_next_command()
    {
        await using var broker = Start([], ("DMB_PORT", "0"));
        var lines = await ReadHelloAsync(broker);
        var url = Assert.Single(Regex.Matches(lines[0], @"listens on (http://127\.0\.0\.1:\d+)\.")).Groups[1].Value;
        Assert.Contains("embedded, one node alone: no Redis at localhost:", lines[1], StringComparison.Ordinal);
        Assert.Contains($"curl -N '{url}/events?room=", lines[2], StringComparison.Ordinal);

        using var http = new HttpClient { Timeout = Node.Patience };
        Assert.Equal("""{"status":"alive"}""", await http.GetStringAsync(url + "/healthz"));
    }

    [Theory]
    [InlineData("DMB_PORT=0 PORT=abc", "")]
    [InlineData("PORT=0", "")]
    [InlineData("DMB_PORT=0 DMB_HOST=localhost", "")]
    [InlineData("DMB_PORT=0 DMB_HOST=0.0.0.0 DMB_AUTH=none", "")]
    [InlineData(
        "DMB_PORT=0 DMB_HOST=0.0.0.0 "
            + "DMB_KEYS=ops:sixteen-letters-or-more:publish,register;other:sixteen-letters-or-more:read",
        ""
    )]
    [InlineData("DMB_PORT=0 DMB_HOST=0.0.0.0 DMB_JWT_SECRET=thirty-two-bytes-of-secret-text!", "")]
    [InlineData("DMB_PORT=0 REDIS_HOST=none", "")]
    [InlineData("DMB_PORT=99999", "--Dmb:Port=0")]
    [InlineData("DMB_PORT=99999", "--dmb:port 0 --Logging:LogLevel:Dmb=Debug --environment Production")]
    [InlineData("DMB_PORT=0 DMB_PING_INTERVAL=1.5 DMB_EVENTS=a=calls,b=", "")]
    [InlineData("DMB_PORT=0 DMB_ALLOWED_ORIGINS=https://a.example,http://b.example:8080", "")]
    public async Task A_valid_value_is_accepted(string environment, string arguments)
    {
        var variables = environment.Split(' ').Select(pair => pair.Split('=', 2)).Select(pair => (pair[0], pair[1]));
        await using var broker = Start(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries), [.. variables]);
        var lines = await ReadHelloAsync(broker);
        Assert.Matches(@"listens on http://[^ ]+:\d{4,5}\.", lines[0]);
    }

    [Theory]
    [InlineData("DMB_PROT", "1", "DMB_PROT")]
    [InlineData("DMB_MAX_MESAGE_BYTES", "1", "DMB_MAX_MESAGE_BYTES")]
    [InlineData("Dmb__MaxMesageBytes", "1", "MaxMesageBytes")]
    [InlineData("DMB_PROT", "1", "Did you mean DMB_PORT?")]
    [InlineData("DMB_MAX_MESAGE_BYTES", "1", "Did you mean DMB_MAX_MESSAGE_BYTES?")]
    [InlineData("Dmb__MaxMesageBytes", "1", "Did you mean DMB_MAX_MESSAGE_BYTES?")]
    [InlineData("REDIS_PROT", "1", "Did you mean REDIS_PORT?")]
    public async Task An_unknown_name_is_warned_about(string name, string value, string told)
    {
        await using var broker = Start([], ("DMB_PORT", "0"), (name, value));
        var lines = await ReadHelloAsync(broker);
        var warning = await broker.LineAsync("warn");
        Assert.Contains(told, warning, StringComparison.Ordinal);
        Assert.Equal([.. lines, warning], broker.Lines);
    }

    [Fact]
    public async Task Settings_may_stand_in_appsettings_json_and_the_environment_wins()
    {
        var directory = Directory.CreateTempSubdirectory("dmb");
        try
        {
            await File.WriteAllTextAsync(
                Path.Combine(directory.FullName, "appsettings.json"),
                """{"Dmb":{"Port":"99999","AllowedOrigins":["https://a.example"],"Events":{"a":"calls","b":""}}}"""
            );
            await using var refused = StartIn(directory.FullName, []);
            Assert.StartsWith(
                "DMB_PORT: '99999' is not accepted",
                await OnlyErrorAsync(refused, exitCode: 2),
                StringComparison.Ordinal
            );

            await using var taken = StartIn(directory.FullName, [], ("DMB_PORT", "0"));
            await ReadHelloAsync(taken);

            // A list in the file gives way too.
            await using var origins = StartIn(directory.FullName, [], ("DMB_PORT", "0"), ("DMB_ALLOWED_ORIGINS", "b"));
            Assert.StartsWith(
                "DMB_ALLOWED_ORIGINS: 'b' is not accepted",
                await OnlyErrorAsync(origins, exitCode: 2),
                StringComparison.Ordinal
            );
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private static ChildProcess Start(string[] arguments, params (string, string)[] environment) =>
        StartIn(AppContext.BaseDirectory, arguments, environment);

    private static ChildProcess StartIn(string directory, string[] arguments, params (string, string)[] environment) =>
        NodeProcess.RunBare(arguments, directory, environment);

    /// <summary>The one line on stderr that is all it prints before it ends.</summary>
    private static async Task<string> OnlyErrorAsync(ChildProcess broker, int exitCode)
    {
        Assert.Equal(exitCode, await broker.EndAsync());
        Assert.Equal(broker.Errors, broker.Lines);
        return Assert.Single(broker.Errors);
    }

    /// <summary>The first three lines of the log.</summary>
    private static async Task<string[]> ReadHelloAsync(ChildProcess broker)
    {
        var last = await broker.LineAsync("Next: ");
        Assert.Equal(last, broker.Lines[2]);
        return broker.Lines[..3];
    }
}
