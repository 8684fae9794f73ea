using System.Net;
using YamlDotNet.RepresentationModel;

namespace Dmb.Tests.Deploy;

/// <summary>
/// A node starts in the environment that each platform gives it, as far as that can be had without the platform:
/// variables, command line, limits. The addresses in a recipe are replaced by those of the test.
/// </summary>
public sealed class StartTests
{
    private const string Keys = "ops:0123456789abcdef0123:admin";

    [Fact]
    public async Task Kubernetes_starts_a_pod_beside_services_named_redis_and_dmb()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var file = await Access.KeysFile.WriteAsync(Keys);
        var pod = Manifest("kubernetes.yaml");
        var environment = new Dictionary<string, string> { ["KUBERNETES_PORT"] = "tcp://10.96.0.1:443" };
        if (pod.Children.TryGetValue("enableServiceLinks", out var links) is false || (string)links! != "false")
        {
            AddServiceLinks(environment, "REDIS", 6379);
            AddServiceLinks(environment, "DMB", 80);
        }

        await StartsAsync(environment, Variables(pod), redis.Port, ("/etc/dmb/keys", file.Path));
    }

    [Theory]
    [InlineData("cloud-run.yaml", 0, "latest")]
    [InlineData("cloud-run-publish.yaml", 0, "latest")]
    [InlineData("knative.yaml", 0, "keys")]
    [InlineData("knative.yaml", 1, "keys")]
    public async Task Cloud_Run_and_Knative_start_an_instance_on_the_port_that_they_assign(
        string file,
        int document,
        string secret
    )
    {
        await using var redis = await RedisServer.StartAsync();
        var port = RedisServer.FreePort();
        var environment = Image();
        environment["PORT"] = $"{port}";
        environment["K_SERVICE"] = environment["K_CONFIGURATION"] = "dmb";
        environment["K_REVISION"] = "dmb-00001";
        var recipe = Variables(Manifest(file, document));
        var url = await StartsAsync(environment, recipe, redis.Port, (secret, Keys));
        Assert.Equal(port, url.Port);
    }

    [Fact]
    public async Task Systemd_starts_the_command_of_the_unit_with_its_limits_and_its_file_of_settings()
    {
        var unit = await File.ReadAllLinesAsync(Path.Combine(Repository.Root, "deploy", "dmb.service"));
        string Value(string name) =>
            Assert.Single(unit, line => line.StartsWith(name + "=", StringComparison.Ordinal))[(name.Length + 1)..];
        Assert.Equal(("/opt/dmb", "-/etc/default/dmb"), (Value("WorkingDirectory"), Value("EnvironmentFile")));

        // All sessions, a tenth for Redis and the node itself, and no less.
        var files = int.Parse(Value("LimitNOFILE"));
        Assert.InRange(files, new Dmb.Sockets.SocketOptions().MaxSessions * 11 / 10, int.MaxValue);

        var arguments = Value("ExecStart")["/opt/dmb/Dmb".Length..];

        // The hard limit of the test's own user may be lower than the unit's.
        await using var node = ChildProcess.Start(
            "bash",
            ["-c", $"ulimit -n {files} 2>/dev/null || true; exec {NodeProcess.CommandLine}{arguments}"],
            NodeProcess.AppDirectory,
            ("DMB_PORT", "0"),
            ("DMB_KEYS", Keys),
            ("LANG", "C.UTF-8"),
            ("INVOCATION_ID", "0"),
            ("JOURNAL_STREAM", "8:1")
        );
        await node.LineAsync(" listens on http://");
        await node.TerminateAsync();
        Assert.Equal(0, await node.EndAsync());
    }

    /// <summary>Starts a node and gives its address once it is ready, with Redis where the recipe has it.</summary>
    private static async Task<Uri> StartsAsync(
        Dictionary<string, string> environment,
        IEnumerable<(string Name, string Value)> recipe,
        int redis,
        params (string Theirs, string Ours)[] replaced
    )
    {
        foreach (var (name, value) in recipe)
        {
            environment[name] = value;
        }

        // Without a network there are no names to resolve.
        (string, string)[] ours =
        [
            ("redis", "127.0.0.1"),
            ("10.0.0.3", "127.0.0.1"),
            ("6379", $"{redis}"),
            ("8080", "0"),
            .. replaced,
        ];
        await using var node = await NodeProcess.StartAsync([
            .. environment.Select(one =>
                (one.Key, ours.FirstOrDefault(pair => pair.Item1 == one.Value, (one.Value, one.Value)).Item2)
            ),
        ]);
        await node.BecomesAsync("ready");
        Assert.Contains(node.Log, line => line.Contains($"Redis at 127.0.0.1:{redis}", StringComparison.Ordinal));
        Assert.Equal(HttpStatusCode.Unauthorized, (HttpStatusCode)(await node.PushAsync("report_csr", "{}")).Status);
        return node.Url;
    }

    /// <summary>What the Containerfile sets.</summary>
    private static Dictionary<string, string> Image() =>
        File.ReadLines(Path.Combine(Repository.Root, "Containerfile"))
            .Single(line => line.StartsWith("ENV ", StringComparison.Ordinal))[4..]
            .Split(' ')
            .Select(one => one.Split('='))
            .ToDictionary(one => one[0], one => one[1]);

    /// <summary>The variables of Kubernetes' service links, and of Docker's.</summary>
    private static void AddServiceLinks(Dictionary<string, string> environment, string name, int port)
    {
        environment[$"{name}_SERVICE_HOST"] = "10.96.0.11";
        environment[$"{name}_SERVICE_PORT"] = environment[$"{name}_SERVICE_PORT_HTTP"] = $"{port}";
        environment[$"{name}_PORT"] = environment[$"{name}_PORT_{port}_TCP"] = $"tcp://10.96.0.11:{port}";
        environment[$"{name}_PORT_{port}_TCP_PROTO"] = "tcp";
        environment[$"{name}_PORT_{port}_TCP_PORT"] = $"{port}";
        environment[$"{name}_PORT_{port}_TCP_ADDR"] = "10.96.0.11";
    }

    /// <summary>The pod of a document of a recipe.</summary>
    private static YamlMappingNode Manifest(string file, int document = 0)
    {
        using var reader = new StreamReader(Path.Combine(Repository.Root, "deploy", file));
        var yaml = new YamlStream();
        yaml.Load(reader);
        return (YamlMappingNode)yaml.Documents[document].RootNode["spec"]["template"]["spec"];
    }

    /// <summary>The variables of its container; of a secret's the key's name.</summary>
    private static IEnumerable<(string, string)> Variables(YamlMappingNode pod) =>
        ((YamlSequenceNode)pod["containers"][0]["env"])
            .Cast<YamlMappingNode>()
            .Select(one =>
            {
                var value = one.Children.TryGetValue("value", out var given)
                    ? given
                    : one["valueFrom"]["secretKeyRef"]["key"];
                return ((string)one["name"]!, (string)value!);
            });
}
