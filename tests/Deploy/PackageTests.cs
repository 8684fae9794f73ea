using System.Text.RegularExpressions;

namespace Dmb.Tests.Deploy;

/// <summary>
/// The Debian package of deploy/debian, built of another program. <c>.ci/native</c> builds it of the broker, installs and
/// purges it.
/// </summary>
public sealed partial class PackageTests : IAsyncLifetime
{
    private readonly Terminals _terminals = new();
    private string _root = "";

    public async ValueTask InitializeAsync()
    {
        var script = Path.Combine(Repository.Root, "deploy", "debian", "build.sh");
        var deb = Assert.Single(await _terminals.RunAsync($"VERSION=1.2.3 {script} /bin/true deb"));
        Assert.EndsWith("/dmb_1.2.3_amd64.deb", deb, StringComparison.Ordinal);
        _root = _terminals.PathOf("root");
        await _terminals.RunAsync($"dpkg-deb -R {deb} {_root}");
    }

    [Fact]
    public async Task It_has_the_program_the_unit_the_settings_and_the_presets()
    {
        var files = await _terminals.RunAsync($"cd {_root} && find . -type f | sort");
        foreach (
            var file in new[]
            {
                "etc/default/dmb",
                "lib/systemd/system/dmb.service",
                "usr/bin/dmb",
                "usr/share/dmb/asterisk/bridge.py",
                "usr/share/dmb/dmb_publisher.py",
                "usr/share/dmb/freeswitch/bridge.py",
                "usr/share/dmb/kamailio/dmb.cfg",
                "usr/share/dmb/kamailio/kamailio.cfg",
                "usr/share/dmb/nginx.conf",
                "usr/share/doc/dmb/changelog.gz",
                "usr/share/doc/dmb/copyright",
            }
        )
        {
            Assert.Contains("./" + file, files);
        }

        Assert.Equal("/etc/default/dmb", (await ReadAsync("DEBIAN/conffiles")).Trim());
        var control = await ReadAsync("DEBIAN/control");
        Assert.DoesNotContain("@", control.Replace("dmb@", "", StringComparison.Ordinal), StringComparison.Ordinal);
        await _terminals.RunAsync($"cd {_root} && md5sum --quiet -c DEBIAN/md5sums");
        await _terminals.RunAsync($"cd {_root}/DEBIAN && sh -n postinst && sh -n prerm && sh -n postrm");
    }

    [Fact]
    public async Task Its_unit_is_valid_and_has_a_user_of_its_own()
    {
        var text = await ReadAsync("lib/systemd/system/dmb.service");
        Assert.DoesNotContain("/opt/", text, StringComparison.Ordinal);
        Assert.Contains("\nExecStart=/usr/bin/dmb\n", text, StringComparison.Ordinal);
        Assert.Contains("\nUser=dmb\n", text, StringComparison.Ordinal);
        var unit = _terminals.PathOf("dmb.service");
        await File.WriteAllTextAsync(unit, text.Replace("/usr/bin/dmb", "/bin/true", StringComparison.Ordinal));
        var verify = _terminals.Type($"systemd-analyze verify --man=no {unit}");
        Assert.True(await verify.EndAsync() == 0, string.Join('\n', verify.Lines));
        Assert.DoesNotContain(verify.Lines, line => line.Contains("dmb.service:", StringComparison.Ordinal));
        await _terminals.RunAsync($"systemd-analyze security --offline=true --threshold=20 --no-pager {unit}");
    }

    [Fact]
    public async Task Each_setting_of_its_file_exists()
    {
        var table = Settings.Table();
        var names = Setting()
            .Matches(await ReadAsync("etc/default/dmb"))
            .Select(match => match.Groups[1].Value)
            .ToArray();
        Assert.Contains("DMB_KEYS_FILE", names);
        Assert.All(names, name => Assert.Contains($"| `{name}` |", table, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Its_manual_has_each_command()
    {
        var manual = string.Join('\n', await _terminals.RunAsync($"gzip -dc {_root}/usr/share/man/man1/dmb.1.gz"));
        var page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "command.md"));
        var commands = Command().Matches(page).Select(match => match.Groups[1].Value).ToArray();
        Assert.NotEmpty(commands);
        Assert.All(commands, command => Assert.Matches($"(?m)^\\.BI? {command}( |$)", manual));
    }

    public ValueTask DisposeAsync() => _terminals.DisposeAsync();

    private Task<string> ReadAsync(string file) => File.ReadAllTextAsync(Path.Combine(_root, file));

    [GeneratedRegex("(?m)^#?([A-Z]+_[A-Z_]+)=")]
    private static partial Regex Setting();

    [GeneratedRegex(@"(?m)^\| `dmb (\w+)")]
    private static partial Regex Command();
}
